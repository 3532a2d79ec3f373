"""Energy from the meters in a fake sysfs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime import energy as module
from finch_runtime import timing
from finch_runtime.energy import EnergyMeter, total_energy
from finch_runtime.protocol import Energy
from finch_runtime.runtimes import LoadedModel
from finch_runtime.session import Session
from finch_runtime.timing import Timer

from tests.deploy.fake_sys import write_sys

Array = np.ndarray[Any, Any]

RAPL = "class/powercap/intel-rapl"
HWMON = "class/hwmon/hwmon"
SPAN = 262_143_328_850


class Clock:
    """Takes the place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for each in (module, timing):
        monkeypatch.setattr(each, "time", clock)
    return clock


def zone(number: str, name: str, energy: int) -> dict[str, object]:
    folder = f"{RAPL}:{number}"
    return {
        f"{folder}/name": name,
        f"{folder}/energy_uj": energy,
        f"{folder}/max_energy_range_uj": SPAN,
    }


def server(packages: tuple[int, int], memory: int, part: int) -> dict[str, object]:
    return {
        f"{RAPL}/enabled": 1,
        **zone("0", "package-0", packages[0]),
        **zone("1", "package-1", packages[1]),
        **zone("0:0", "core", part),
        **zone("0:1", "dram", memory),
        **zone("2", "psys", part),
        "class/powercap/intel-rapl-mmio:0/name": "package-0",
        "class/powercap/intel-rapl-mmio:0/energy_uj": part,
    }


def test_packages_and_memory_are_summed_without_their_parts(tmp_path: Path, clock: Clock) -> None:
    meter = EnergyMeter(write_sys(tmp_path, server((1_000_000, 5_000_000), 100_000, 0)))
    meter.start()
    write_sys(tmp_path, server((3_500_000, 6_000_000), 350_000, 9_000_000))
    clock.now += 1
    energy = meter.stop(7)
    assert energy.runs == 7
    assert energy.joules == pytest.approx(2.5 + 1.0 + 0.25)
    assert energy.source == "rapl: package-0 + dram-0 + package-1"


def test_a_counter_may_wrap_around(tmp_path: Path, clock: Clock) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", SPAN - 400_000)))
    meter.start()
    write_sys(tmp_path, zone("0", "package-0", 100_000))
    clock.now += 1
    assert meter.stop(1).joules == pytest.approx(0.5)


def test_start_resets_the_meter(tmp_path: Path, clock: Clock) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", 0)))
    for end in (1_000_000, 3_000_000):
        meter.start()
        write_sys(tmp_path, zone("0", "package-0", end))
        clock.now += 1
        energy = meter.stop(1)
    assert energy.joules == pytest.approx(2.0)


def test_energy_without_meters_is_not_measured(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path)
    assert meter.stretch_s == meter.settle_s == 0
    meter.start()
    energy = meter.stop(0)
    assert energy.joules is None
    assert energy.source.startswith("not measured: ")


def test_unreadable_counters_are_the_reason_for_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sys(tmp_path, zone("0", "package-0", 0))
    forbid(monkeypatch, "energy_uj")
    energy = EnergyMeter(tmp_path).stop(0)
    assert energy.joules is None
    assert "intel-rapl:0/energy_uj cannot be read (Permission denied)" in energy.source


def test_board_sensors_are_the_fallback_for_unreadable_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    board = {f"{HWMON}0/name": "board", f"{HWMON}0/energy1_input": 5_000_000}
    write_sys(tmp_path, {**zone("0", "package-0", 0), **board})
    forbid(monkeypatch, "energy_uj")
    meter = EnergyMeter(tmp_path)
    meter.start()
    write_sys(tmp_path, {f"{HWMON}0/energy1_input": 5_750_000})
    clock.now += 2
    energy = meter.stop(1)
    assert (energy.joules, energy.source) == (pytest.approx(0.75), "hwmon: board energy1")


def test_only_the_largest_rail_of_a_board_counts(tmp_path: Path, clock: Clock) -> None:
    write_sys(
        tmp_path,
        {
            f"{HWMON}0/name": "amdgpu",
            f"{HWMON}0/power1_average": 90_000_000,
            f"{HWMON}1/name": "ina2xx",
            f"{HWMON}1/power1_input": 4_000_000,
            f"{HWMON}1/power1_label": "VDD_IN",
            f"{HWMON}1/power2_input": 1_500_000,
            f"{HWMON}1/power2_label": "VDD_CPU",
        },
    )
    meter = EnergyMeter(tmp_path)
    meter.start()
    clock.now += 2
    assert meter.stop(5) == Energy(pytest.approx(8.0), 5, "hwmon: ina2xx VDD_IN")


def jetson(**changes: object) -> dict[str, object]:
    """An INA3221 with three channels, and the sums that its driver adds."""
    files: dict[str, object] = {"name": "ina3221", "update_interval": 20}
    rails = [("VDD_IN", 19_000, 250), ("VDD_CPU_GPU_CV", 5_000, 300), ("VDD_SOC", 5_000, 100)]
    for channel, (label, millivolts, milliamperes) in enumerate(rails, start=1):
        files |= {f"in{channel}_label": label, f"in{channel}_enable": 1}
        files |= {f"in{channel}_input": millivolts, f"curr{channel}_input": milliamperes}
    files |= {"in7_label": "sum of shunt voltages", "in7_input": 90_000, "curr4_input": 90_000}
    return {f"{HWMON}3/{name}": value for name, value in {**files, **changes}.items()}


def test_the_power_of_a_jetson_is_voltage_times_current(tmp_path: Path, clock: Clock) -> None:
    meter = EnergyMeter(write_sys(tmp_path, jetson()))
    assert meter.stretch_s == pytest.approx(0.4)
    meter.start()
    clock.now += 2
    energy = meter.stop(1)
    assert energy == Energy(pytest.approx(2 * 19 * 0.25), 1, "hwmon: ina3221 VDD_IN")


def test_a_channel_that_is_switched_off_is_not_read(tmp_path: Path, clock: Clock) -> None:
    # The kernel answers "no data" to a reader of such a channel.
    files = jetson(in1_enable=0, in1_input="", curr1_input="")
    meter = EnergyMeter(write_sys(tmp_path, files))
    meter.start()
    clock.now += 2
    assert meter.stop(1).joules == pytest.approx(2 * 5 * 0.3)


def test_power_is_integrated_with_the_trapezoidal_rule(tmp_path: Path, clock: Clock) -> None:
    power = {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 2_000_000}
    meter = EnergyMeter(write_sys(tmp_path, power))
    meter.start()
    clock.now += 1.5
    write_sys(tmp_path, {f"{HWMON}0/power1_input": 6_000_000})
    assert meter.stop(1).joules == pytest.approx(4 * 1.5)


@pytest.mark.parametrize("update_ms", [1, 50, 400])
def test_a_run_that_is_too_short_for_the_meter_is_not_measured(
    tmp_path: Path, clock: Clock, update_ms: int
) -> None:
    power = {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 2_000_000}
    meter = EnergyMeter(write_sys(tmp_path, {**power, f"{HWMON}0/update_interval": update_ms}))
    assert meter.stretch_s >= 20 * update_ms / 1e3
    meter.start()
    clock.now += 0.99 * meter.stretch_s
    energy = meter.stop(9)
    assert energy.joules is None and "board power1 needs " in energy.source
    meter.start()
    clock.now += 1.01 * meter.stretch_s
    assert meter.stop(9).joules == pytest.approx(2 * 1.01 * meter.stretch_s)
    assert meter.stop(0).joules is None


def test_a_meter_that_is_too_slow_is_not_used(tmp_path: Path) -> None:
    power = {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 2_000_000}
    meter = EnergyMeter(write_sys(tmp_path, {**power, f"{HWMON}0/update_interval": 2000}))
    assert meter.stretch_s == 0
    assert "board power1 is updated only every 2 s" in meter.stop(1).source


class Board:
    """A board whose gauge shows the average power of the last 50 ms, as of the last update."""

    window = 0.05

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spent: list[tuple[float, float, float]] = []  # start, end, watts

    def work(self, seconds: float, watts: float) -> None:
        self.spent.append((self.clock.now, self.clock.now + seconds, watts))
        self.clock.now += seconds

    def read(self, path: Path) -> int:
        end = self.clock.now // self.window * self.window
        start = end - self.window
        parts = [(max(a, start), min(b, end), watts) for a, b, watts in self.spent[-2000:]]
        joules = sum((b - a) * watts for a, b, watts in parts if b > a)
        return round(1e6 * joules / self.window)


def test_models_of_different_power_are_told_apart(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(clock)
    monkeypatch.setattr(module, "_read_number", board.read)
    write_sys(tmp_path, {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 0})
    monkeypatch.setattr(timing, "EnergyMeter", lambda: EnergyMeter(tmp_path))

    def timer(watts: float) -> Timer:
        def infer(images: Array) -> tuple[Array, Array]:
            board.work(0.002, watts)
            zeros = np.zeros((len(images), 2), np.float32)
            return zeros, zeros

        loaded = LoadedModel([], [], {}, 0.0, infer)
        session = Session(Path("model"), "none", "0", 1, 8, 3, True, loaded)
        return Timer(session, np.zeros((1, 8, 8, 3), np.uint8), None)

    models = {watts: timer(watts) for watts in (2.0, 6.0)}
    for _ in range(40):
        for model in models.values():
            model.time_turn(1)
    for watts, model in models.items():
        model.measure_energy()
        energy = model.result().energy
        assert energy.joules is not None
        assert energy.joules / energy.runs == pytest.approx(0.002 * watts, rel=0.03)


def test_a_decreasing_counter_is_not_measured(tmp_path: Path) -> None:
    board = {f"{HWMON}0/name": "board", f"{HWMON}0/energy1_input": 5_000_000}
    meter = EnergyMeter(write_sys(tmp_path, board))
    meter.start()
    write_sys(tmp_path, {f"{HWMON}0/energy1_input": 1})
    energy = meter.stop(1)
    assert energy.joules is None and "energy1_input" in energy.source


def test_a_total_is_not_measured_if_a_part_is_not() -> None:
    parts = [Energy(1.0, 10, "rapl"), Energy(2.0, 30, "rapl")]
    assert total_energy(parts) == Energy(3.0, 40, "rapl")
    missing = Energy(None, 0, "not measured: unreadable")
    assert total_energy([parts[0], missing, parts[1]]) == missing
    assert total_energy([]).joules is None


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes a file unreadable, as the kernel does for users other than root."""
    read = Path.read_text

    def read_text(path: Path, *arguments: object, **options: object) -> str:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", read_text)

"""Energy from the meters in a fake sysfs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from finch_runtime.energy import EnergyMeter, total_energy
from finch_runtime.protocol import Energy

from tests.deploy.fake_sys import write_sys

RAPL = "class/powercap/intel-rapl"
HWMON = "class/hwmon/hwmon"
SPAN = 262_143_328_850


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


def test_packages_and_memory_are_summed_without_their_parts(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, server((1_000_000, 5_000_000), 100_000, 0)))
    meter.start()
    write_sys(tmp_path, server((3_500_000, 6_000_000), 350_000, 9_000_000))
    energy = meter.stop()
    assert energy.joules == pytest.approx(2.5 + 1.0 + 0.25)
    assert energy.source == "rapl: package-0 + dram-0 + package-1"


def test_a_counter_may_wrap_around(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", SPAN - 400_000)))
    meter.start()
    write_sys(tmp_path, zone("0", "package-0", 100_000))
    assert meter.stop().joules == pytest.approx(0.5)


def test_start_resets_the_meter(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", 0)))
    for end in (1_000_000, 3_000_000):
        meter.start()
        write_sys(tmp_path, zone("0", "package-0", end))
        energy = meter.stop()
    assert energy.joules == pytest.approx(2.0)


def test_energy_without_meters_is_not_measured(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path)
    meter.start()
    energy = meter.stop()
    assert energy.joules is None
    assert energy.source.startswith("not measured: ")


def test_unreadable_counters_are_the_reason_for_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sys(tmp_path, zone("0", "package-0", 0))
    forbid(monkeypatch, "energy_uj")
    energy = EnergyMeter(tmp_path).stop()
    assert energy.joules is None
    assert "intel-rapl:0/energy_uj cannot be read (Permission denied)" in energy.source


def test_board_sensors_are_the_fallback_for_unreadable_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = {f"{HWMON}0/name": "board", f"{HWMON}0/energy1_input": 5_000_000}
    write_sys(tmp_path, {**zone("0", "package-0", 0), **board})
    forbid(monkeypatch, "energy_uj")
    meter = EnergyMeter(tmp_path)
    meter.start()
    write_sys(tmp_path, {f"{HWMON}0/energy1_input": 5_750_000})
    energy = meter.stop()
    assert (energy.joules, energy.source) == (pytest.approx(0.75), "hwmon: board energy1")


def test_only_the_largest_rail_of_a_board_counts(tmp_path: Path) -> None:
    write_sys(
        tmp_path,
        {
            f"{HWMON}0/name": "amdgpu",
            f"{HWMON}0/power1_average": 90_000_000,
            f"{HWMON}1/name": "ina3221",
            f"{HWMON}1/power1_input": 4_000_000,
            f"{HWMON}1/power1_label": "VDD_IN",
            f"{HWMON}1/power2_input": 1_500_000,
            f"{HWMON}1/power2_label": "VDD_CPU",
        },
    )
    meter = EnergyMeter(tmp_path)
    before = time.perf_counter()
    meter.start()
    began = time.perf_counter()
    while time.perf_counter() < began + 0.1:
        meter.sample()
    ended = time.perf_counter()
    energy = meter.stop()
    after = time.perf_counter()
    assert energy.source == "hwmon: ina3221 VDD_IN"
    # Four watts, for a duration between these two.
    assert energy.joules is not None
    assert 4 * (ended - began) <= energy.joules <= 4 * (after - before)


def test_power_is_integrated_with_the_trapezoidal_rule(tmp_path: Path) -> None:
    power = {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 2_000_000}
    meter = EnergyMeter(write_sys(tmp_path, power))
    meter.start()
    began = time.perf_counter()
    time.sleep(0.2)
    write_sys(tmp_path, {f"{HWMON}0/power1_input": 6_000_000})
    energy = meter.stop()
    assert energy.joules == pytest.approx(4 * (time.perf_counter() - began), rel=0.2)


def test_a_decreasing_counter_is_not_measured(tmp_path: Path) -> None:
    board = {f"{HWMON}0/name": "board", f"{HWMON}0/energy1_input": 5_000_000}
    meter = EnergyMeter(write_sys(tmp_path, board))
    meter.start()
    write_sys(tmp_path, {f"{HWMON}0/energy1_input": 1})
    energy = meter.stop()
    assert energy.joules is None and "energy1_input" in energy.source


def test_a_total_is_not_measured_if_a_part_is_not() -> None:
    parts = [Energy(1.0, "rapl"), Energy(2.0, "rapl")]
    assert total_energy(parts) == Energy(3.0, "rapl")
    missing = Energy(None, "not measured: unreadable")
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

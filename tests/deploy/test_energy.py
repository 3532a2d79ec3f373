"""Energy by the meters of a made-up machine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from finch_runtime.energy import EnergyMeter

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


def test_packages_and_memory_add_up_and_their_parts_do_not_count_again(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, server((1_000_000, 5_000_000), 100_000, 0)))
    meter.start()
    write_sys(tmp_path, server((3_500_000, 6_000_000), 350_000, 9_000_000))
    energy = meter.stop()
    assert energy.joules == pytest.approx(2.5 + 1.0 + 0.25)
    assert energy.source == "rapl: package-0 + dram-0 + package-1"


def test_a_counter_that_begins_anew_is_followed(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", SPAN - 400_000)))
    meter.start()
    write_sys(tmp_path, zone("0", "package-0", 100_000))
    assert meter.stop().joules == pytest.approx(0.5)


def test_every_start_begins_at_zero(tmp_path: Path) -> None:
    meter = EnergyMeter(write_sys(tmp_path, zone("0", "package-0", 0)))
    for end in (1_000_000, 3_000_000):
        meter.start()
        write_sys(tmp_path, zone("0", "package-0", end))
        energy = meter.stop()
    assert energy.joules == pytest.approx(2.0)


def test_a_machine_without_meters_says_so(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path)
    meter.start()
    energy = meter.stop()
    assert energy.joules is None
    assert energy.source == "not measured: the machine shows no meter (powercap, hwmon)"


def test_counters_for_root_alone_are_absent_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sys(tmp_path, zone("0", "package-0", 0))
    forbid(monkeypatch, "energy_uj")
    energy = EnergyMeter(tmp_path).stop()
    assert energy.joules is None
    assert energy.source.endswith("intel-rapl:0/energy_uj cannot be read (Permission denied)")


def test_a_board_s_sensor_stands_in_for_counters_for_root_alone(
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


def test_of_a_board_s_rails_the_largest_counts_and_other_chips_do_not(tmp_path: Path) -> None:
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
    # Four watts, for a time that lies between these two.
    assert energy.joules is not None
    assert 4 * (ended - began) <= energy.joules <= 4 * (after - before)


def test_power_that_rises_evenly_is_worth_its_mean(tmp_path: Path) -> None:
    power = {f"{HWMON}0/name": "board", f"{HWMON}0/power1_input": 2_000_000}
    meter = EnergyMeter(write_sys(tmp_path, power))
    meter.start()
    began = time.perf_counter()
    time.sleep(0.2)
    write_sys(tmp_path, {f"{HWMON}0/power1_input": 6_000_000})
    energy = meter.stop()
    assert energy.joules == pytest.approx(4 * (time.perf_counter() - began), rel=0.2)


def test_a_counter_that_goes_back_for_no_reason_is_not_believed(tmp_path: Path) -> None:
    board = {f"{HWMON}0/name": "board", f"{HWMON}0/energy1_input": 5_000_000}
    meter = EnergyMeter(write_sys(tmp_path, board))
    meter.start()
    write_sys(tmp_path, {f"{HWMON}0/energy1_input": 1})
    energy = meter.stop()
    assert energy.joules is None and energy.source.endswith("energy1_input went backwards")


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As the kernel does for users other than root, for whom these tests may run."""
    read = Path.read_text

    def read_text(path: Path, *arguments: object, **options: object) -> str:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", read_text)

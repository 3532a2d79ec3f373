"""Temperature and frequency of a made-up machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from finch_runtime.conditions import Conditions, read_conditions

from tests.deploy.fake_sys import write_sys

ZONE = "class/thermal/thermal_zone"
FREQUENCY = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"


def test_the_hottest_zone_of_the_processor_counts(tmp_path: Path) -> None:
    write_sys(
        tmp_path,
        {
            f"{ZONE}0/type": "acpitz",
            f"{ZONE}0/temp": 99_000,
            f"{ZONE}1/type": "x86_pkg_temp",
            f"{ZONE}1/temp": 61_000,
            f"{ZONE}2/type": "cpu-thermal",
            f"{ZONE}2/temp": 63_500,
            "class/hwmon/hwmon0/name": "k10temp",
            "class/hwmon/hwmon0/temp1_input": 80_000,
        },
    )
    assert read_conditions(tmp_path).temperature_c == 63.5


def test_a_sensor_chip_stands_in_for_zones(tmp_path: Path) -> None:
    write_sys(
        tmp_path,
        {
            "class/hwmon/hwmon0/name": "nvme",
            "class/hwmon/hwmon0/temp1_input": 90_000,
            "class/hwmon/hwmon1/name": "coretemp",
            "class/hwmon/hwmon1/temp1_input": 44_000,
            "class/hwmon/hwmon1/temp2_input": 47_000,
        },
    )
    assert read_conditions(tmp_path).temperature_c == 47.0


def test_the_fastest_core_that_may_be_used_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    clocks = {0: 800_000, 1: 2_400_500, 2: 3_900_000}
    write_sys(tmp_path, {FREQUENCY.format(core): clock for core, clock in clocks.items()})
    assert read_conditions(tmp_path).frequency_mhz == 2400.5


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    write_sys(tmp_path, {f"{ZONE}0/type": "cpu", f"{ZONE}0/temp": "no number"})
    assert read_conditions(tmp_path) == Conditions(None, None)

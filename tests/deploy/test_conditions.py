"""Temperature and frequency in a fake sysfs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from finch_runtime.conditions import read_conditions
from finch_runtime.protocol import Conditions

from tests.deploy.fake_sys import write_sys

ZONE = "class/thermal/thermal_zone"
FREQUENCY = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"


def test_temperature_is_that_of_the_hottest_processor_zone(tmp_path: Path) -> None:
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


def test_sensor_chips_are_the_fallback_for_zones(tmp_path: Path) -> None:
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


def test_frequency_is_that_of_the_fastest_usable_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    clocks = {0: 800_000, 1: 2_400_500, 2: 3_900_000}
    write_sys(tmp_path, {FREQUENCY.format(core): clock for core, clock in clocks.items()})
    assert read_conditions(tmp_path).frequency_mhz == 2400.5


def test_unreadable_values_are_unknown(tmp_path: Path) -> None:
    write_sys(tmp_path, {f"{ZONE}0/type": "cpu", f"{ZONE}0/temp": "no number"})
    assert read_conditions(tmp_path) == Conditions(None, None)

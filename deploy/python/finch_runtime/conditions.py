"""State of the machine while it measures: temperature and frequency of the processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from finch_runtime.protocol import Conditions

SYS = Path("/sys")

# Processor temperatures: thermal zones by a part of their type, sensor chips by their name.
_ZONES = ("cpu", "pkg", "soc")
_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")


def read_conditions(sys: Path = SYS) -> Conditions:
    """Reads temperature and frequency from Linux's sysfs, mounted at ``sys``."""
    temperatures = list(_zone_temperatures(sys)) or list(_chip_temperatures(sys))
    frequencies = list(_frequencies(sys))
    return Conditions(
        temperature_c=max(temperatures) / 1e3 if temperatures else None,
        frequency_mhz=max(frequencies) / 1e3 if frequencies else None,
    )


def read_text(path: Path) -> str:
    """Content of a file in sysfs, stripped; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _numbers(paths: Iterator[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield int(read_text(path))
        except ValueError:
            continue


def _zone_temperatures(sys: Path) -> Iterator[int]:
    for zone in sys.glob("class/thermal/thermal_zone*"):
        kind = read_text(zone / "type").lower()
        if any(part in kind for part in _ZONES):
            yield from _numbers(iter([zone / "temp"]))


def _chip_temperatures(sys: Path) -> Iterator[int]:
    for chip in sys.glob("class/hwmon/hwmon*"):
        if read_text(chip / "name") in _CHIPS:
            yield from _numbers(chip.glob("temp*_input"))


def _frequencies(sys: Path) -> Iterator[int]:
    if hasattr(os, "sched_getaffinity"):
        cores = os.sched_getaffinity(0)
    else:
        cores = set(range(os.cpu_count() or 1))
    folder = sys / "devices/system/cpu"
    return _numbers(folder / f"cpu{core}/cpufreq/scaling_cur_freq" for core in cores)

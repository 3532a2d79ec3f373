"""State of the machine while it measures: temperature and frequency of the processor."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from finch_runtime.protocol import Conditions

SYS = Path("/sys")

# Processor temperatures: thermal zones by a part of their type, sensor chips by their name.
_ZONES = ("cpu", "pkg", "soc")
_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")


def read_conditions(sys: Path = SYS) -> Conditions:
    """Reads temperature and frequency from Linux's sysfs, mounted at ``sys``."""
    zones = [
        zone / "temp"
        for zone in sys.glob("class/thermal/thermal_zone*")
        if any(part in read_text(zone / "type").lower() for part in _ZONES)
    ]
    chips = [c for c in sys.glob("class/hwmon/hwmon*") if read_text(c / "name") in _CHIPS]
    temperatures = _numbers(zones) or _numbers(t for c in chips for t in c.glob("temp*_input"))
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = os.sched_getaffinity(0) if has_affinity else range(os.cpu_count() or 1)
    clock = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    frequencies = _numbers(sys / clock.format(core) for core in cores)
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


def _numbers(paths: Iterable[Path]) -> list[int]:
    """The integers in the files, without files that are unreadable or contain no integer."""
    numbers = []
    for path in paths:
        with suppress(ValueError):
            numbers.append(int(read_text(path)))
    return numbers

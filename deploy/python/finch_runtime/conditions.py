"""What changes about a machine as it works: how hot it is, and how fast its clock runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")

# Whose temperature counts: thermal zones by a part of their type, sensor chips by their name.
_ZONES = ("cpu", "pkg", "soc")
_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")


@dataclass(frozen=True)
class Conditions:
    """The machine at one moment.

    Attributes:
        temperature_c: Of the processor's hottest sensor, in degrees Celsius; None where there is
            no such sensor.
        frequency_mhz: Of the fastest core that this process may use, which is the one at work;
            None where the system does not tell.
    """

    temperature_c: float | None
    frequency_mhz: float | None


def read_conditions(sys: Path = SYS) -> Conditions:
    """Reads them.

    Args:
        sys: Where Linux's sysfs is mounted.
    """
    temperatures = list(_zone_temperatures(sys)) or list(_chip_temperatures(sys))
    frequencies = list(_frequencies(sys))
    return Conditions(
        temperature_c=max(temperatures) / 1e3 if temperatures else None,
        frequency_mhz=max(frequencies) / 1e3 if frequencies else None,
    )


def read_number(path: Path) -> int | None:
    """The whole number that a file of sysfs holds; None where it cannot be read."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def read_name(path: Path) -> str:
    """The text that a file of sysfs holds; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _zone_temperatures(sys: Path) -> Iterator[int]:
    for zone in sys.glob("class/thermal/thermal_zone*"):
        kind = read_name(zone / "type").lower()
        value = read_number(zone / "temp")
        if value is not None and any(part in kind for part in _ZONES):
            yield value


def _chip_temperatures(sys: Path) -> Iterator[int]:
    for chip in sys.glob("class/hwmon/hwmon*"):
        if read_name(chip / "name") in _CHIPS:
            for sensor in chip.glob("temp*_input"):
                value = read_number(sensor)
                if value is not None:
                    yield value


def _frequencies(sys: Path) -> Iterator[int]:
    if hasattr(os, "sched_getaffinity"):
        cores = os.sched_getaffinity(0)
    else:
        cores = set(range(os.cpu_count() or 1))
    for core in cores:
        value = read_number(sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if value is not None:
            yield value

"""Energy consumption from Linux's power meters."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from finch_runtime.conditions import SYS, read_text
from finch_runtime.protocol import Energy

# The sensors of these chips do not measure the processor.
_OTHER_CHIPS = ("amdgpu", "i915", "nouveau", "nvme", "xe")


class EnergyMeter:
    """Measures energy between ``start`` and ``stop``, with the sensors in sysfs at ``sys``.

    Uses the RAPL counters of Intel and AMD processors: the sum of all packages and of their memory,
    where it has a separate counter. Without readable counters it uses the power and energy sensors
    of boards (hwmon). One rail may feed another, so only the largest sensor counts. Both measure
    the whole machine, including other processes.
    """

    def __init__(self, sys: Path = SYS) -> None:
        self._error = "the machine has no readable meter (powercap, hwmon)"
        self._is_sum = True
        self._meters = _find_rapl(sys)
        self.start()
        if not self._meters:
            self._is_sum = False
            self._meters = _find_hwmon(sys)
            self.start()

    def start(self) -> None:
        """Resets the meter to zero."""
        self._read(_Counter.reset, self._meters)

    def sample(self) -> None:
        """Reads the meters that are due; cheap enough to call after every inference."""
        now = time.perf_counter()
        due = [each for each in self._meters if now - each.read_at >= each.period_s]
        self._read(_Counter.update, due)

    def stop(self) -> Energy:
        """Energy since ``start``."""
        self._read(_Counter.update, self._meters)
        if not self._meters:
            return Energy(None, f"not measured: {self._error}")
        if self._is_sum:
            names = " + ".join(meter.name for meter in self._meters)
            return Energy(sum(meter.joules for meter in self._meters), f"rapl: {names}")
        largest = max(self._meters, key=lambda meter: meter.joules)
        return Energy(largest.joules, f"hwmon: {largest.name}")

    def _read(self, method: Callable[[_Counter], None], meters: Sequence[_Counter]) -> None:
        """Reads meters; all are disabled if one of them cannot be read."""
        try:
            for meter in meters:
                method(meter)
        except OSError as error:
            self._meters = []
            self._error = f"{error.filename} cannot be read ({error.strerror})"
        except ValueError as error:
            self._meters = []
            self._error = str(error)


def total_energy(parts: Sequence[Energy]) -> Energy:
    """Sum of several measurements; ``joules`` is None if one of them failed."""
    if not parts:
        return Energy(None, "not measured: no timed inferences")
    joules = 0.0
    for part in parts:
        if part.joules is None:
            return part
        joules += part.joules
    return Energy(joules, parts[-1].source)


@dataclass
class _Counter:
    """An energy counter in microjoules, which wraps around at the value in ``limit``."""

    name: str
    path: Path
    limit: Path | None = None
    joules: float = 0.0
    last: int = 0
    read_at: float = 0.0
    period_s: ClassVar[float] = 1.0  # much shorter than the time to wrap around

    def reset(self) -> None:
        self.joules, self.last, self.read_at = 0.0, _read_number(self.path), time.perf_counter()

    def update(self) -> None:
        value, now = _read_number(self.path), time.perf_counter()
        self.joules += self._microjoules(value, now - self.read_at) / 1e6
        self.last, self.read_at = value, now

    def _microjoules(self, value: int, seconds: float) -> float:
        increase = value - self.last
        if increase < 0 and self.limit:
            increase += _read_number(self.limit)
        if increase < 0:
            raise ValueError(f"{self.path} decreased")
        return increase


class _PowerSensor(_Counter):
    """A power sensor in microwatts, integrated with the trapezoidal rule."""

    period_s = 0.02

    def _microjoules(self, value: int, seconds: float) -> float:
        return (self.last + value) / 2 * seconds


def _find_rapl(sys: Path) -> list[_Counter]:
    """All packages and memories. Cores and uncore are parts of a package; psys contains them."""
    meters = []
    for zone in sorted(sys.glob("class/powercap/intel-rapl:*")):
        name = read_text(zone / "name")
        if name == "dram":
            name += f"-{zone.name.split(':')[1]}"
        elif not re.fullmatch(r"package-\d+(-die-\d+)?", name):
            continue
        meters.append(_Counter(name, zone / "energy_uj", zone / "max_energy_range_uj"))
    return meters


def _find_hwmon(sys: Path) -> list[_Counter]:
    meters: list[_Counter] = []
    for chip in sorted(sys.glob("class/hwmon/hwmon*")):
        chip_name = read_text(chip / "name")
        if chip_name in _OTHER_CHIPS:
            continue
        counters = sorted(chip.glob("energy*_input"))
        sensors = sorted(chip.glob("power*_input")) or sorted(chip.glob("power*_average"))
        for path in counters or sensors:
            channel = path.name.split("_")[0]
            name = f"{chip_name} {read_text(chip / f'{channel}_label') or channel}"
            meters.append(_Counter(name, path) if counters else _PowerSensor(name, path))
    return meters


def _read_number(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path} contains {text!r}, not a number") from None

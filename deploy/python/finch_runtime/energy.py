"""Energy consumption from Linux's power meters."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Union

from finch_runtime.conditions import SYS, read_text
from finch_runtime.protocol import Energy

# The sensors of these chips do not measure the processor.
_OTHER_CHIPS = ("amdgpu", "i915", "nouveau", "nvme", "xe")


class EnergyMeter:
    """Measures energy between ``start`` and ``stop``.

    Uses the RAPL counters of Intel and AMD processors: the sum of all packages and of their memory,
    where it has a separate counter. Without readable counters it uses the power and energy sensors
    of boards (hwmon). One rail may feed another, so only the largest sensor counts. Both measure
    the whole machine, including other processes.

    Args:
        sys: Mount point of Linux's sysfs.
    """

    def __init__(self, sys: Path = SYS) -> None:
        self._meters: Sequence[_Meter] = ()
        self._is_sum = True
        self._error = ""
        for meters, is_sum in ((_find_rapl(sys), True), (_find_hwmon(sys), False)):
            if meters and self._reset(meters):
                self._meters, self._is_sum = meters, is_sum
                break

    def start(self) -> None:
        """Resets the meter to zero."""
        if self._meters and not self._reset(self._meters):
            self._meters = ()

    def sample(self) -> None:
        """Reads the meters that are due; cheap enough to call after every inference."""
        now = time.perf_counter()
        self._update([each for each in self._meters if now - each.read_at >= each.period_s])

    def stop(self) -> Energy:
        """Energy since ``start``."""
        self._update(self._meters)
        if not self._meters:
            reason = self._error or "the machine has no readable meter (powercap, hwmon)"
            return Energy(None, f"not measured: {reason}")
        if self._is_sum:
            names = " + ".join(meter.name for meter in self._meters)
            return Energy(sum(meter.joules for meter in self._meters), f"rapl: {names}")
        largest = max(self._meters, key=lambda meter: meter.joules)
        return Energy(largest.joules, f"hwmon: {largest.name}")

    def _reset(self, meters: Sequence[_Meter]) -> bool:
        try:
            for meter in meters:
                meter.reset()
        except (OSError, ValueError) as error:
            self._error = _describe(error)
            return False
        return True

    def _update(self, meters: Sequence[_Meter]) -> None:
        try:
            for meter in meters:
                meter.update()
        except (OSError, ValueError) as error:
            self._error = _describe(error)
            self._meters = ()


def total_energy(parts: Sequence[Energy]) -> Energy:
    """Sum of several measurements; not measured if one of them is not."""
    if not parts:
        return Energy(None, "not measured: no timed inferences")
    joules = 0.0
    for part in parts:
        if part.joules is None:
            return part
        joules += part.joules
    return Energy(joules, parts[-1].source)


class _Counter:
    """An energy counter in microjoules, which wraps around at the value in ``limit``."""

    def __init__(self, name: str, path: Path, limit: Path | None = None) -> None:
        self.name = name
        self.joules = self.read_at = 0.0
        self.period_s = 1.0  # much shorter than the time to wrap around
        self._path, self._limit_path = path, limit
        self._limit = self._last = 0

    def reset(self) -> None:
        self._limit = _read_number(self._limit_path) if self._limit_path else 0
        self._last, self.joules = _read_number(self._path), 0.0
        self.read_at = time.perf_counter()

    def update(self) -> None:
        value = _read_number(self._path)
        increase = value - self._last
        if increase < 0:
            increase += self._limit
        if increase < 0:
            raise ValueError(f"{self._path} decreased")
        self.joules += increase / 1e6
        self._last, self.read_at = value, time.perf_counter()


class _PowerSensor:
    """A power sensor in microwatts, integrated with the trapezoidal rule."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.joules = self.read_at = 0.0
        self.period_s = 0.02
        self._path = path
        self._watts = 0.0

    def reset(self) -> None:
        self._watts, self.joules = _read_number(self._path) / 1e6, 0.0
        self.read_at = time.perf_counter()

    def update(self) -> None:
        watts, now = _read_number(self._path) / 1e6, time.perf_counter()
        self.joules += (self._watts + watts) / 2 * (now - self.read_at)
        self._watts, self.read_at = watts, now


_Meter = Union[_Counter, _PowerSensor]  # noqa: UP007, `|` needs Python 3.10


def _find_rapl(sys: Path) -> list[_Meter]:
    """All packages and memories. Cores and uncore are parts of a package; psys contains them."""
    meters: list[_Meter] = []
    for zone in sorted(sys.glob("class/powercap/intel-rapl:*")):
        name = read_text(zone / "name")
        if re.fullmatch(r"package-\d+(-die-\d+)?", name) or name == "dram":
            if name == "dram":
                name += f"-{zone.name.split(':')[1]}"
            meters.append(_Counter(name, zone / "energy_uj", zone / "max_energy_range_uj"))
    return meters


def _find_hwmon(sys: Path) -> list[_Meter]:
    meters: list[_Meter] = []
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


def _describe(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read ({error.strerror})"
    return str(error)

"""Energy consumption from Linux's power meters."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finch_runtime.conditions import SYS, read_text
from finch_runtime.protocol import Energy

# The sensors of these chips do not measure the processor.
_OTHER_CHIPS = ("amdgpu", "i915", "nouveau", "nvme", "xe")

# RAPL counters advance about once per millisecond. Other meters average over tens of milliseconds,
# unless they say how long.
_RAPL_UPDATE_S = 0.001
_UPDATE_S = 0.05
_LONGEST_UPDATE_S = 0.5
# A measurement lasts so many updates, and at least so long: a reading is up to one update old.
_UPDATES = 20
_SHORTEST_S = 0.1
_CHECK_LIMIT_S = 1.0  # much shorter than the time in which a counter wraps around


class EnergyMeter:
    """Measures energy between ``start`` and ``stop``, with the sensors in sysfs at ``sys``.

    Uses the RAPL counters of Intel and AMD processors: the sum of all packages and of their memory,
    where it has a separate counter. Without readable counters it uses the power and energy sensors
    of boards (hwmon); a Jetson's INA3221 tells voltage and current, whose product is the power. One
    rail may feed another, so only the largest sensor counts. Both measure the whole machine,
    including other processes.

    Readings are averages of the recent past. So the load must run for ``settle_s`` seconds before
    ``start``, and a measurement must last at least ``stretch_s`` seconds. Both are 0 without a
    meter.
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
        slowest = max(self._meters, key=lambda meter: meter.update_s, default=None)
        if slowest and slowest.update_s > _LONGEST_UPDATE_S:
            self._meters = []
            self._error = f"{slowest.name} is updated only every {slowest.update_s:g} s"

    @property
    def settle_s(self) -> float:
        """Time from the start of a load until the readings show nothing but this load."""
        return 2 * max((meter.update_s for meter in self._meters), default=0.0)

    @property
    def stretch_s(self) -> float:
        """Shortest duration of a measurement."""
        if not self._meters:
            return 0.0
        return max(_SHORTEST_S, _UPDATES * max(meter.update_s for meter in self._meters))

    def start(self) -> None:
        """Resets the meter to zero."""
        self._started = time.perf_counter()
        self._read(_Counter.reset, self._meters)

    def sample(self) -> None:
        """Reads the meters that are due; cheap enough to call after every inference."""
        now = time.perf_counter()
        due = [each for each in self._meters if now - each.read_at >= each.period_s]
        self._read(_Counter.update, due)

    def stop(self, runs: int) -> Energy:
        """Energy of ``runs`` inferences since ``start``."""
        self._read(_Counter.update, self._meters)
        if not self._meters:
            return Energy(None, runs, f"not measured: {self._error}")
        seconds = time.perf_counter() - self._started
        if seconds < self.stretch_s or not runs:
            names = " + ".join(meter.name for meter in self._meters)
            reason = f"{names} needs {self.stretch_s:g} s, the run took {seconds:.3g} s"
            return Energy(None, runs, f"not measured: {reason}")
        if self._is_sum:
            names = " + ".join(meter.name for meter in self._meters)
            return Energy(sum(meter.joules for meter in self._meters), runs, f"rapl: {names}")
        largest = max(self._meters, key=lambda meter: meter.joules)
        return Energy(largest.joules, runs, f"hwmon: {largest.name}")

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
        return Energy(None, 0, "not measured: no inferences")
    joules, runs = 0.0, 0
    for part in parts:
        if part.joules is None:
            return part
        joules += part.joules
        runs += part.runs
    return Energy(joules, runs, parts[-1].source)


@dataclass
class _Counter:
    """An energy counter in microjoules, which wraps around at the value in ``limit``."""

    name: str
    paths: tuple[Path, ...]
    update_s: float
    limit: Path | None = None
    joules: float = 0.0
    last: int = 0
    read_at: float = 0.0

    @property
    def period_s(self) -> float:
        """Time between readings."""
        return _CHECK_LIMIT_S

    def reset(self) -> None:
        self.joules, self.last, self.read_at = 0.0, self._value(), time.perf_counter()

    def update(self) -> None:
        value, now = self._value(), time.perf_counter()
        self.joules += self._microjoules(value, now - self.read_at) / 1e6
        self.last, self.read_at = value, now

    def _value(self) -> int:
        return math.prod(_read_number(path) for path in self.paths)

    def _microjoules(self, value: int, seconds: float) -> float:
        increase = value - self.last
        if increase < 0 and self.limit:
            increase += _read_number(self.limit)
        if increase < 0:
            raise ValueError(f"{self.paths[0]} decreased")
        return increase


class _PowerSensor(_Counter):
    """A power sensor, integrated with the trapezoidal rule.

    The product of ``paths`` is in microwatts: one value in microwatts, or millivolts and
    milliamperes.
    """

    @property
    def period_s(self) -> float:
        """Time between readings."""
        return self.update_s

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
        limit = zone / "max_energy_range_uj"
        meters.append(_Counter(name, (zone / "energy_uj",), _RAPL_UPDATE_S, limit))
    return meters


def _find_hwmon(sys: Path) -> list[_Counter]:
    meters: list[_Counter] = []
    for chip in sorted(sys.glob("class/hwmon/hwmon*")):
        chip_name, update_s = read_text(chip / "name"), _update_s(chip)
        if chip_name in _OTHER_CHIPS:
            continue
        counters = sorted(chip.glob("energy*_input"))
        sensors = sorted(chip.glob("power*_input")) or sorted(chip.glob("power*_average"))
        for path in counters or sensors:
            channel = path.name.split("_")[0]
            name = f"{chip_name} {read_text(chip / f'{channel}_label') or channel}"
            kind = _Counter if counters else _PowerSensor
            meters.append(kind(name, (path,), update_s))
        if chip_name == "ina3221" and not (counters or sensors):
            meters += _find_ina3221(chip, update_s)
    return meters


def _find_ina3221(chip: Path, update_s: float) -> list[_Counter]:
    """The channels that are switched on. Other voltages and currents of the chip are sums."""
    meters: list[_Counter] = []
    for channel in (1, 2, 3):
        volts, amperes = chip / f"in{channel}_input", chip / f"curr{channel}_input"
        is_on = read_text(chip / f"in{channel}_enable") != "0"
        if is_on and volts.exists() and amperes.exists():
            name = f"ina3221 {read_text(chip / f'in{channel}_label') or f'channel {channel}'}"
            meters.append(_PowerSensor(name, (volts, amperes), update_s))
    return meters


def _update_s(chip: Path) -> float:
    """Time between two readings, which are averages over this time."""
    text = read_text(chip / "update_interval")  # in milliseconds
    return int(text) / 1e3 if re.fullmatch(r"[1-9]\d{0,8}", text) else _UPDATE_S


def _read_number(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path} contains {text!r}, not a number") from None

"""The energy that a stretch of work took, where the machine has a meter."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finch_runtime.conditions import SYS, read_name

# The meters of these chips are not about the processor.
_OTHERS = ("amdgpu", "i915", "nouveau", "nvme", "xe")
_GAUGE_PERIOD_S = 0.02


@dataclass(frozen=True)
class Energy:
    """Energy over a stretch of time.

    Attributes:
        joules: What counts as the machine's; None when it was not measured.
        source: Which meters these joules are of, or why there are none.
    """

    joules: float | None
    source: str


class EnergyMeter:
    """Adds up the energy between ``start`` and ``stop``.

    Intel's and AMD's RAPL counters come first: every package, and its memory where that has a
    counter of its own. Boards with a power sensor (hwmon) come second; one of their rails may feed
    another, so the largest alone counts. Both see the whole machine, and what else runs on it.

    Args:
        sys: Where Linux's sysfs is mounted.
    """

    def __init__(self, sys: Path = SYS) -> None:
        self._meters: Sequence[_Counter | _Gauge] = ()
        self._together = True
        self._trouble = ""
        rapl, hwmon = _rapl(sys), _hwmon(sys)
        for meters, together in ((rapl, True), (hwmon, False)):
            if meters and self._begin(meters):
                self._meters, self._together = meters, together
                break

    def start(self) -> None:
        """Begins at zero."""
        if self._meters and not self._begin(self._meters):
            self._meters = ()

    def sample(self) -> None:
        """Looks at meters that must be looked at on the way; cheap enough to call after a run."""
        self._look(on_the_way=True)

    def stop(self) -> Energy:
        """The energy since ``start``."""
        self._look(on_the_way=False)
        if not self._meters:
            reason = self._trouble or "the machine shows no meter (powercap, hwmon)"
            return Energy(None, f"not measured: {reason}")
        if self._together:
            names = " + ".join(meter.name for meter in self._meters)
            return Energy(sum(meter.joules for meter in self._meters), f"rapl: {names}")
        largest = max(self._meters, key=lambda meter: meter.joules)
        return Energy(largest.joules, f"hwmon: {largest.name}")

    def _begin(self, meters: Sequence[_Counter | _Gauge]) -> bool:
        try:
            for meter in meters:
                meter.begin()
        except (OSError, ValueError) as error:
            self._note(error)
            return False
        return True

    def _look(self, *, on_the_way: bool) -> None:
        try:
            for meter in self._meters:
                if not on_the_way or meter.is_due():
                    meter.look()
        except (OSError, ValueError) as error:
            self._note(error)
            self._meters = ()

    def _note(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError):
            self._trouble = f"{error.filename} cannot be read ({error.strerror})"
        else:
            self._trouble = str(error)


class _Counter:
    """Microjoules since some moment; ``span`` is the value after which it begins anew."""

    _PERIOD_S = 1.0  # far below what it takes to go round

    def __init__(self, name: str, path: Path, span: Path | None) -> None:
        self.name = name
        self.joules = 0.0
        self._path, self._span_path = path, span
        self._span = self._last = 0
        self._looked = 0.0

    def begin(self) -> None:
        self._span = _number(self._span_path) if self._span_path else 0
        self._last, self.joules, self._looked = _number(self._path), 0.0, time.perf_counter()

    def is_due(self) -> bool:
        return time.perf_counter() - self._looked >= self._PERIOD_S

    def look(self) -> None:
        value = _number(self._path)
        grown = value - self._last
        if grown < 0:
            grown += self._span
        if grown < 0:
            raise ValueError(f"{self._path} went backwards")
        self.joules += grown / 1e6
        self._last, self._looked = value, time.perf_counter()


class _Gauge:
    """Microwatts at this moment; in between they are taken to change evenly."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.joules = 0.0
        self._path = path
        self._watts = self._looked = 0.0

    def begin(self) -> None:
        self._watts, self._looked, self.joules = self._read(), time.perf_counter(), 0.0

    def is_due(self) -> bool:
        return time.perf_counter() - self._looked >= _GAUGE_PERIOD_S

    def look(self) -> None:
        watts, now = self._read(), time.perf_counter()
        self.joules += (self._watts + watts) / 2 * (now - self._looked)
        self._watts, self._looked = watts, now

    def _read(self) -> float:
        return _number(self._path) / 1e6


def _rapl(sys: Path) -> list[_Counter | _Gauge]:
    """Every package and memory. Cores and uncore are parts of a package; psys contains them."""
    meters: list[_Counter | _Gauge] = []
    for zone in sorted(sys.glob("class/powercap/intel-rapl:*")):
        name = read_name(zone / "name")
        if re.fullmatch(r"package-\d+(-die-\d+)?", name) or name == "dram":
            if name == "dram":
                name += f"-{zone.name.split(':')[1]}"
            meters.append(_Counter(name, zone / "energy_uj", zone / "max_energy_range_uj"))
    return meters


def _hwmon(sys: Path) -> list[_Counter | _Gauge]:
    meters: list[_Counter | _Gauge] = []
    for chip in sorted(sys.glob("class/hwmon/hwmon*")):
        maker = read_name(chip / "name")
        if maker in _OTHERS:
            continue
        counters = sorted(chip.glob("energy*_input"))
        gauges = sorted(chip.glob("power*_input")) or sorted(chip.glob("power*_average"))
        for path in counters or gauges:
            channel = path.name.split("_")[0]
            name = f"{maker} {read_name(chip / f'{channel}_label') or channel}"
            meters.append(_Counter(name, path, None) if counters else _Gauge(name, path))
    return meters


def _number(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path} holds {text!r}, no number") from None

"""What a part finds: one figure or fact, and whether it is as it must be."""

from __future__ import annotations

import json
import statistics
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import one_line


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: What was measured or tried.
        value: The figure, or a text.
        unit: Unit of a figure.
        low: Lowest of several measurements; None if there was one.
        high: Highest of several measurements.
        target: What the value must be, in words; empty if it need not be anything.
        met: Whether it is; None without a target.
    """

    what: str
    value: float | str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    target: str = ""
    met: bool | None = None


def at_least(what: str, values: Sequence[float], unit: str, target: float | None) -> Finding:
    """The median of several measurements, which must reach ``target``; None for no target."""
    middle = statistics.median(values)
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    wanted = "" if target is None else f"at least {target:g}"
    met = None if target is None else middle >= target
    return Finding(what, middle, unit, low, high, wanted, met)


def at_most(what: str, value: float, unit: str, target: float) -> Finding:
    """A figure that must not exceed ``target``."""
    return Finding(what, value, unit, target=f"at most {target:g}", met=value <= target)


def required(what: str, value: str, met: bool, target: str = "yes") -> Finding:
    """A fact that must be true."""
    return Finding(what, value, target=target, met=met)


def guarded(what: str, find: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of one experiment; an exception is a finding too, so that others follow."""
    try:
        yield from find()
    except Exception as error:  # experiments raise whatever the GPU, torch or a stage raises
        traceback.print_exc()
        problem = f"{type(error).__name__}: {one_line(error)}"
        yield Finding(what, problem, target="no exception", met=False)


def append_finding(path: Path, finding: Finding) -> None:
    """Appends a line of JSON, so that what was found before a process is killed is kept."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(finding)) + "\n")


def read_findings(path: Path) -> list[Finding]:
    """Reads what ``append_finding`` has written; a last line without an end is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Finding(**json.loads(line)) for line in lines]

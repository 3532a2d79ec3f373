"""The rule by which one candidate ships. It sees measurements alone, never a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SelectionError
from pipeline.measure.accuracy import Drop
from pipeline.measure.latency import Ratio


@dataclass(frozen=True)
class Measurement:
    """What the rule looks at in a candidate.

    Attributes:
        name: The candidate.
        bytes: Size of its files.
        p50_ms: Median latency at batch 1, in milliseconds.
        ratio: Its latency as a multiple of the reference's, paired by rounds.
        drop: Its loss of accuracy to the reference, paired by images.
    """

    name: str
    bytes: int
    p50_ms: float
    ratio: Ratio
    drop: Drop


@dataclass(frozen=True)
class Verdict:
    """What became of one candidate, and why, in plain English."""

    name: str
    status: Literal["shipped", "accepted", "rejected"]
    reason: str


@dataclass(frozen=True)
class Selection:
    """The candidate that ships, and a verdict on each, in the order they were given."""

    chosen: str
    reason: str
    verdicts: list[Verdict]


def select(
    measurements: Sequence[Measurement],
    *,
    reference: str,
    max_drop: float,
    max_drop_bound: float,
    latency_tolerance: float,
) -> Selection:
    """Chooses the candidate that ships.

    A candidate is out when it loses more than ``max_drop`` points of accuracy, when the interval of
    that loss reaches beyond ``max_drop_bound``, so that the images cannot rule out a loss as large,
    or when it is slower than the reference: when the interval of its latency ratio lies wholly
    above 1. The reference is never out. Of the rest, those count as fast whose p50 is at most
    ``1 + latency_tolerance`` times the lowest; of these the smallest ships (then the fastest, then
    the first by name).

    Args:
        measurements: All candidates, the reference among them; their order does not matter.
        reference: Name of the fp32 model the others are held to.
        max_drop: Largest accepted loss of accuracy, in percentage points.
        max_drop_bound: Largest accepted upper end of its 95 % interval, in percentage points.
        latency_tolerance: Share by which a p50 may lie above the lowest.

    Raises:
        SelectionError: The reference is missing, a name occurs twice, or a figure is impossible.
    """
    _check(measurements, reference)
    faults = {
        m.name: [] if m.name == reference else _faults(m, reference, max_drop, max_drop_bound)
        for m in measurements
    }
    accepted = [m for m in measurements if not faults[m.name]]
    fastest = min(accepted, key=lambda m: (m.p50_ms, m.name))
    limit = fastest.p50_ms * (1 + latency_tolerance)
    fast = [m for m in accepted if m.p50_ms <= limit]
    winner = min(fast, key=lambda m: (m.bytes, m.p50_ms, m.name))

    reason = _why_it_ships(winner, fastest, len(fast), latency_tolerance)
    verdicts = []
    for m in measurements:
        if faults[m.name]:
            verdicts.append(Verdict(m.name, "rejected", "; ".join(faults[m.name])))
        elif m is winner:
            verdicts.append(Verdict(m.name, "shipped", reason))
        elif m.p50_ms > limit:
            verdicts.append(Verdict(m.name, "accepted", _lag(m, fastest)))
        else:
            verdicts.append(Verdict(m.name, "accepted", _second(m, winner)))
    return Selection(winner.name, reason, verdicts)


def _check(measurements: Sequence[Measurement], reference: str) -> None:
    names = [m.name for m in measurements]
    if reference not in names:
        raise SelectionError(
            reference, "the reference was not measured", "run `python -m stages.evaluate`"
        )
    for name in names:
        if names.count(name) > 1:
            raise SelectionError(name, f"was measured {names.count(name)} times under one name")
    for m in measurements:
        figures = (m.p50_ms, m.ratio.value, m.ratio.low, m.ratio.high)
        if not all(math.isfinite(f) and f > 0 for f in figures) or not (
            math.isfinite(m.drop.points) and math.isfinite(m.drop.high)
        ):
            raise SelectionError(
                m.name, "its latency or its drop is no number", "run `python -m stages.evaluate`"
            )


def _faults(m: Measurement, reference: str, max_drop: float, max_drop_bound: float) -> list[str]:
    faults = []
    loses = (
        f"loses {m.drop.points:.2f} points of accuracy "
        f"(95 % interval {m.drop.low:.2f} to {m.drop.high:.2f})"
    )
    if m.drop.points > max_drop:
        faults.append(f"{loses}, {max_drop:g} allowed")
    elif m.drop.high > max_drop_bound:
        faults.append(
            f"{loses}: {m.drop.images} images cannot rule out more than {max_drop_bound:g}"
        )
    if m.ratio.low > 1:
        faults.append(
            f"slower than {reference}: {m.ratio.value:.3f} times its latency "
            f"(95 % interval {m.ratio.low:.3f} to {m.ratio.high:.3f})"
        )
    return faults


def _why_it_ships(winner: Measurement, fastest: Measurement, fast: int, tolerance: float) -> str:
    near = f"within {100 * tolerance:g} % of the fastest"
    if fast == 1:
        return f"the fastest ({_ms(winner)}), and no other accepted candidate is {near}"
    size = f"the smallest file ({_kb(winner)}) of the {fast} accepted candidates {near}"
    if winner is fastest:
        return f"{size}, and the fastest itself ({_ms(winner)})"
    return f"{size}, {fastest.name} ({_ms(winner)} against {_ms(fastest)})"


def _lag(m: Measurement, fastest: Measurement) -> str:
    slower = 100 * (m.p50_ms / fastest.p50_ms - 1)
    return (
        f"{slower:.1f} % slower than the fastest, {fastest.name} ({_ms(m)} against {_ms(fastest)})"
    )


def _second(m: Measurement, winner: Measurement) -> str:
    if m.bytes > winner.bytes:
        return f"its file is larger than that of {winner.name} ({_kb(m)} against {_kb(winner)})"
    if m.p50_ms > winner.p50_ms:
        return f"{winner.name} is as small and faster ({_ms(winner)} against {_ms(m)})"
    return f"{winner.name} is as small and as fast, and comes first by name"


def _ms(m: Measurement) -> str:
    return f"{m.p50_ms:.3f} ms"


def _kb(m: Measurement) -> str:
    return f"{m.bytes / 1000:,.1f} kB"

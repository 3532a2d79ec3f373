"""The rule by which one candidate ships. It sees measurements alone, never a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SelectionError
from pipeline.statistics import AccuracyDrop, LatencyRatio


@dataclass(frozen=True)
class Measurement:
    """What the rule looks at in a candidate.

    Attributes:
        name: The candidate.
        bytes: Size of its files.
        latency_ms: At batch 1, of the percentile that counts, in milliseconds.
        ratio: Its median latency as a multiple of the reference's, paired by rounds.
        drop: Its loss of accuracy to the reference, paired by images.
        runtime_bytes: Size of the inference runtime that it needs; None if not known.
        memory_bytes: Peak resident memory of its process; None if not known.
    """

    name: str
    bytes: int
    latency_ms: float
    ratio: LatencyRatio
    drop: AccuracyDrop
    runtime_bytes: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to.

    Attributes:
        max_drop: Largest accepted loss of accuracy, in percentage points.
        max_drop_bound: Largest accepted upper end of its 95 % interval, in percentage points.
        max_bytes: Largest accepted size of its files; None for any.
        max_total_bytes: Largest accepted size of its files and its runtime; None for any.
        max_memory_bytes: Largest accepted peak resident memory; None for any.
    """

    max_drop: float
    max_drop_bound: float
    max_bytes: float | None = None
    max_total_bytes: float | None = None
    max_memory_bytes: float | None = None


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
    limits: Limits,
    latency_tolerance: float,
) -> Selection:
    """Chooses the candidate that ships.

    A candidate is out when it loses more than ``max_drop`` points of accuracy, when the interval of
    that loss reaches beyond ``max_drop_bound``, so that the images cannot rule out a loss as large,
    or when it is slower than the reference; and when it is larger, or needs more memory, than a
    limit allows. The reference is out only for the latter. Of the rest, those count as fast whose
    latency is at most ``1 + latency_tolerance`` times the lowest; of these the smallest ships (then
    the fastest, then the first by name).

    Args:
        measurements: All candidates, the reference among them; their order does not matter.
        reference: Name of the fp32 model the others are held to.
        limits: What a candidate must keep to.
        latency_tolerance: Share by which a latency may lie above the lowest.

    Raises:
        SelectionError: The reference is missing, a name occurs twice, a figure is impossible, or no
            candidate is within the limits.
    """
    _check(measurements, reference)
    faults = {
        m.name: [
            *([] if m.name == reference else _faults(m, reference, limits)),
            *_excesses(m, limits),
        ]
        for m in measurements
    }
    accepted = [m for m in measurements if not faults[m.name]]
    if not accepted:
        reasons = "; ".join(f"{name} {', '.join(found)}" for name, found in faults.items())
        raise SelectionError(
            "bundle",
            f"no candidate is within the limits: {reasons}",
            "raise the limit, or distil a smaller student",
        )
    fastest = min(accepted, key=lambda m: (m.latency_ms, m.name))
    limit = fastest.latency_ms * (1 + latency_tolerance)
    fast = [m for m in accepted if m.latency_ms <= limit]
    winner = min(fast, key=lambda m: (m.bytes, m.latency_ms, m.name))

    reason = _why_it_ships(winner, fastest, len(fast), latency_tolerance)
    verdicts = []
    for m in measurements:
        if faults[m.name]:
            verdicts.append(Verdict(m.name, "rejected", "; ".join(faults[m.name])))
        elif m is winner:
            verdicts.append(Verdict(m.name, "shipped", reason))
        elif m.latency_ms > limit:
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
        figures = (m.latency_ms, m.ratio.value, m.ratio.low, m.ratio.high)
        if not all(math.isfinite(f) and f > 0 for f in figures) or not (
            math.isfinite(m.drop.points) and math.isfinite(m.drop.high)
        ):
            raise SelectionError(
                m.name, "its latency or its drop is no number", "run `python -m stages.evaluate`"
            )


def _faults(m: Measurement, reference: str, limits: Limits) -> list[str]:
    faults = []
    loses = (
        f"loses {m.drop.points:.2f} points of accuracy "
        f"(95 % interval {m.drop.low:.2f} to {m.drop.high:.2f})"
    )
    if m.drop.points > limits.max_drop:
        faults.append(f"{loses}, {limits.max_drop:g} allowed")
    elif m.drop.high > limits.max_drop_bound:
        faults.append(
            f"{loses}: {m.drop.images} images cannot rule out more than {limits.max_drop_bound:g}"
        )
    if m.ratio.value > 1:
        faults.append(
            f"slower than {reference}: {m.ratio.value:.3f} times its latency "
            f"(95 % interval {m.ratio.low:.3f} to {m.ratio.high:.3f})"
        )
    return faults


def _excesses(m: Measurement, limits: Limits) -> list[str]:
    total = None if m.runtime_bytes is None else m.bytes + m.runtime_bytes
    return [
        excess
        for excess in (
            _excess("its file", m.bytes, limits.max_bytes),
            _excess("its file with the runtime", total, limits.max_total_bytes),
            _excess("its memory at the peak", m.memory_bytes, limits.max_memory_bytes),
        )
        if excess
    ]


def _excess(what: str, size: int | None, limit: float | None) -> str | None:
    if limit is None:
        return None
    if size is None:
        return f"{what} was not measured, and may be {limit / 1e6:g} MB"
    if size > limit:
        return f"{what} is {size / 1e6:.2f} MB, {limit / 1e6:g} MB allowed"
    return None


def _why_it_ships(winner: Measurement, fastest: Measurement, fast: int, tolerance: float) -> str:
    near = f"within {100 * tolerance:g} % of the fastest"
    if fast == 1:
        return f"the fastest ({_ms(winner)}), and no other accepted candidate is {near}"
    size = f"the smallest file ({_kb(winner)}) of the {fast} accepted candidates {near}"
    if winner is fastest:
        return f"{size}, and the fastest itself ({_ms(winner)})"
    return f"{size}, {fastest.name} ({_ms(winner)} against {_ms(fastest)})"


def _lag(m: Measurement, fastest: Measurement) -> str:
    slower = 100 * (m.latency_ms / fastest.latency_ms - 1)
    return (
        f"{slower:.1f} % slower than the fastest, {fastest.name} ({_ms(m)} against {_ms(fastest)})"
    )


def _second(m: Measurement, winner: Measurement) -> str:
    if m.bytes > winner.bytes:
        return f"its file is larger than that of {winner.name} ({_kb(m)} against {_kb(winner)})"
    if m.latency_ms > winner.latency_ms:
        return f"{winner.name} is as small and faster ({_ms(winner)} against {_ms(m)})"
    return f"{winner.name} is as small and as fast, and comes first by name"


def _ms(m: Measurement) -> str:
    return f"{m.latency_ms:.3f} ms"


def _kb(m: Measurement) -> str:
    return f"{m.bytes / 1000:,.1f} kB"

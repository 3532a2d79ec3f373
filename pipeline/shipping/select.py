"""Selects the candidate to ship, from the measurements of one device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SelectionError
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.params import Bundle


@dataclass(frozen=True)
class Verdict:
    """Status of one candidate, and the reason for it."""

    name: str
    status: Literal["shipped", "accepted", "rejected"]
    reason: str


@dataclass(frozen=True)
class Selection:
    """The candidate to ship, and a verdict on every candidate."""

    chosen: str
    reason: str
    verdicts: list[Verdict]


def select_candidate(evaluation: Evaluation, rule: Bundle) -> Selection:
    """Selects the candidate to ship.

    A candidate is rejected if its accuracy drop exceeds ``max_drop``, if the upper end of the
    drop's 95 % CI exceeds ``max_drop_bound``, if it is slower than the reference, or if a size or
    its memory exceeds a limit. Only the size and memory limits apply to the reference itself. Of
    the accepted candidates whose latency is at most ``1 + latency_tolerance`` times the lowest, the
    smallest is chosen (then the fastest, then the first by name).

    Args:
        evaluation: Measurements of one device.
        rule: Section ``bundle`` of the parameters; its ``device`` is ignored.

    Returns:
        Verdicts in the order of the evaluation, then those the device cannot run.

    Raises:
        SelectionError: The reference is missing, a name occurs twice, a measurement is invalid, or
            no candidate is accepted.
    """
    _check(evaluation, rule)
    violations = {m.name: _violations(m, evaluation, rule) for m in evaluation.candidates}
    latency = {m.name: m.latency.of(rule.percentile) for m in evaluation.candidates}
    accepted = [m for m in evaluation.candidates if not violations[m.name]]
    if not accepted:
        reasons = "; ".join(f"{name}: {', '.join(found)}" for name, found in violations.items())
        problem = f"no candidate is within the limits ({reasons})"
        raise SelectionError("bundle", problem, "raise the limits, or distill a smaller student")
    fastest = min(accepted, key=lambda m: (latency[m.name], m.name))
    limit = latency[fastest.name] * (1 + rule.latency_tolerance)
    fast = [m for m in accepted if latency[m.name] <= limit]
    winner = min(fast, key=lambda m: (m.bytes, latency[m.name], m.name))

    reason = _why_shipped(winner, fastest, len(fast), rule)
    verdicts = []
    for m in evaluation.candidates:
        if violations[m.name]:
            verdicts.append(Verdict(m.name, "rejected", "; ".join(violations[m.name])))
        elif m is winner:
            verdicts.append(Verdict(m.name, "shipped", reason))
        elif latency[m.name] > limit:
            slower = 100 * (latency[m.name] / latency[fastest.name] - 1)
            times = f"({_ms(m, rule)} and {_ms(fastest, rule)})"
            slow = f"{slower:.1f} % slower than the fastest, {fastest.name} {times}"
            verdicts.append(Verdict(m.name, "accepted", slow))
        else:
            verdicts.append(Verdict(m.name, "accepted", _why_second(m, winner, rule)))
    verdicts += [
        Verdict(m.name, "rejected", f"{evaluation.device} cannot run it: {m.problem}")
        for m in evaluation.not_run
        if m.name != "teacher"
    ]
    return Selection(winner.name, reason, verdicts)


def _check(evaluation: Evaluation, rule: Bundle) -> None:
    names = [m.name for m in evaluation.candidates]
    remedy = "run `python -m stages.evaluate`"
    if evaluation.reference not in names:
        raise SelectionError(evaluation.reference, "the reference was not measured", remedy)
    for m in evaluation.candidates:
        if names.count(m.name) > 1:
            raise SelectionError(m.name, f"{names.count(m.name)} candidates have this name")
        positive = (m.latency.of(rule.percentile), m.ratio.value, m.ratio.low, m.ratio.high)
        is_finite = all(map(math.isfinite, (*positive, m.drop.points, m.drop.high)))
        if not is_finite or min(positive) <= 0:
            raise SelectionError(m.name, "its latency or drop is not a number", remedy)


def _violations(m: Measured, evaluation: Evaluation, rule: Bundle) -> list[str]:
    found, drop, ratio = [], m.drop, m.ratio
    if m.name != evaluation.reference:
        text = (
            f"accuracy drop of {drop.points:.2f} points (95 % CI {drop.low:.2f} to {drop.high:.2f})"
        )
        if drop.points > rule.max_drop:
            found.append(f"{text} exceeds max_drop {rule.max_drop:g}")
        elif drop.high > rule.max_drop_bound:
            limit = f"max_drop_bound {rule.max_drop_bound:g}"
            found.append(f"{text} on {drop.images} images: the CI exceeds {limit}")
        if ratio.value > 1:
            found.append(
                f"slower than {evaluation.reference}: latency ratio {ratio.value:.3f} "
                f"(95 % CI {ratio.low:.3f} to {ratio.high:.3f})"
            )
    runtime, memory = m.footprint.runtime_bytes, m.footprint.peak_bytes
    for what, size, key in (
        ("model size", m.bytes, "max_model_mb"),
        ("size with runtime", None if runtime is None else m.bytes + runtime, "max_total_mb"),
        ("peak memory", memory, "max_memory_mb"),
    ):
        largest: float | None = getattr(rule, key)
        if largest is not None and size is None:
            found.append(f"{what} was not measured, {key} is {largest:g}")
        elif largest is not None and size is not None and size > 1e6 * largest:
            found.append(f"{what} of {size / 1e6:.2f} MB exceeds {key} {largest:g}")
    return found


def _why_shipped(winner: Measured, fastest: Measured, fast: int, rule: Bundle) -> str:
    near = f"within {100 * rule.latency_tolerance:g} % of the lowest latency"
    if fast == 1:
        return f"the fastest ({_ms(winner, rule)}); no other accepted candidate is {near}"
    size = f"the smallest file ({_kb(winner)}) of the {fast} accepted candidates {near}"
    if winner is fastest:
        return f"{size}, and the fastest ({_ms(winner, rule)})"
    return f"{size} ({_ms(winner, rule)}; {fastest.name}: {_ms(fastest, rule)})"


def _why_second(m: Measured, winner: Measured, rule: Bundle) -> str:
    if m.bytes > winner.bytes:
        return f"larger file than {winner.name} ({_kb(m)} and {_kb(winner)})"
    if m.latency.of(rule.percentile) > winner.latency.of(rule.percentile):
        return f"as small as {winner.name}, but slower ({_ms(m, rule)} and {_ms(winner, rule)})"
    return f"as small and as fast as {winner.name}, which is first by name"


def _ms(m: Measured, rule: Bundle) -> str:
    return f"{m.latency.of(rule.percentile):.3f} ms"


def _kb(m: Measured) -> str:
    return f"{m.bytes / 1000:,.1f} kB"

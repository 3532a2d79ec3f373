"""Selects the candidate to ship, from the measurements of one device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.class_metrics import METRIC_NAMES
from pipeline.errors import SelectionError
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.params import Bundle
from pipeline.statistics import Drop, LatencyRatio

_REMEDY = "run `finch evaluate`"


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

    A candidate is rejected if its drop of ``metric`` exceeds ``max_drop``, if the one-sided 95 %
    bound of the drop exceeds ``max_drop_bound``, if it is slower than the reference, or if a size
    or its memory exceeds a limit. It is slower if the 95 % CI of its latency ratio lies above 1, or
    if the ratio exceeds ``1 + latency_tolerance``. Only the size and memory limits apply to the
    reference itself. Of the accepted candidates whose latency ratio is at most ``1 +
    latency_tolerance`` times the lowest, the smallest is chosen (then the fastest, then the first
    by name). The ratios are those of ``percentile``, paired by round.

    Args:
        evaluation: Measurements of one device.
        rule: Section ``bundle`` of the parameters; its ``device`` is ignored.

    Returns:
        Verdicts in the order of the evaluation, then those the device cannot run.

    Raises:
        SelectionError: The reference is missing, a name occurs twice, a measurement is invalid, or
            no candidate is accepted; or ``metric`` is balanced accuracy, whose drop is not in
            recordings of earlier versions.
        MeasurementError: The latency ratios of ``percentile`` were not recorded.
    """
    _check_names(evaluation)
    ratios = {m.name: _latency_ratio(m, rule) for m in evaluation.candidates}
    violations = {
        m.name: _violations(m, ratios[m.name], evaluation, rule) for m in evaluation.candidates
    }
    accepted = [m for m in evaluation.candidates if not violations[m.name]]
    if not accepted:
        reasons = "; ".join(f"{name}: {', '.join(found)}" for name, found in violations.items())
        problem = f"no candidate is within the limits ({reasons})"
        raise SelectionError("bundle", problem, "raise the limits, or distill a smaller student")
    ranking = _Ranking(accepted, ratios, rule)
    verdicts = [
        Verdict(m.name, "rejected", "; ".join(violations[m.name]))
        if violations[m.name]
        else Verdict(m.name, "shipped" if m is ranking.winner else "accepted", ranking.reason(m))
        for m in evaluation.candidates
    ]
    verdicts += [
        Verdict(m.name, "rejected", f"{evaluation.device} cannot run it: {m.problem}")
        for m in evaluation.not_run
        if m.name != "teacher"
    ]
    return Selection(ranking.winner.name, ranking.reason(ranking.winner), verdicts)


def _check_names(evaluation: Evaluation) -> None:
    names = [m.name for m in evaluation.candidates]
    if evaluation.reference not in names:
        raise SelectionError(evaluation.reference, "the reference was not measured", _REMEDY)
    for name in names:
        if names.count(name) > 1:
            raise SelectionError(name, f"{names.count(name)} candidates have this name")


def drop_of(m: Measured, rule: Bundle) -> Drop:
    """The drop of the rule's metric relative to the fp32 student.

    Raises:
        SelectionError: It was not measured.
    """
    drop = m.drop if rule.metric == "accuracy" else m.balanced_drop
    if drop is None:
        raise SelectionError(m.name, f"its {METRIC_NAMES[rule.metric]} was not compared", _REMEDY)
    return drop


def _latency_ratio(m: Measured, rule: Bundle) -> LatencyRatio:
    """The ratio of the rule's percentile, after a check of the figures that the rule reads."""
    positive = (m.latency.of(rule.percentile), *m.latency.round_ratios.get(rule.percentile, ()))
    drop = drop_of(m, rule)
    is_finite = all(map(math.isfinite, (*positive, drop.points, drop.bound)))
    if not is_finite or min(positive) <= 0:
        raise SelectionError(m.name, "its latency or drop is not a number", _REMEDY)
    return m.latency.ratio(rule.percentile)


def _violations(
    m: Measured, ratio: LatencyRatio, evaluation: Evaluation, rule: Bundle
) -> list[str]:
    if m.name == evaluation.reference:
        return _size_violations(m, rule)
    found, drop = [], drop_of(m, rule)
    text = f"{drop.figure} drop of {drop.points:.2f} points"
    if drop.points > rule.max_drop:
        interval = f"(95 % CI {drop.low:.2f} to {drop.high:.2f})"
        found.append(f"{text} {interval} exceeds max_drop {rule.max_drop:g}")
    elif drop.bound > rule.max_drop_bound:
        bound = f"its one-sided 95 % bound of {drop.bound:.2f} points exceeds max_drop_bound"
        found.append(
            f"{text} on {drop.images:,} images: {bound} {rule.max_drop_bound:g}"
            f"{what_would_settle(drop.images_for_bound(rule.max_drop_bound), 'drop')}"
        )
    if ratio.low > 1 or ratio.value > 1 + rule.latency_tolerance:
        above = (
            "" if ratio.low > 1 else f" exceeds 1 + latency_tolerance {rule.latency_tolerance:g}"
        )
        found.append(
            f"slower than {evaluation.reference}: {rule.percentile} latency ratio "
            f"{ratio.value:.3f} (95 % CI {ratio.low:.3f} to {ratio.high:.3f}){above}"
        )
    return found + _size_violations(m, rule)


def _size_violations(m: Measured, rule: Bundle) -> list[str]:
    found = []
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


def what_would_settle(images: int | None, figure: str) -> str:
    """How many images decide a comparison if ``figure`` stays the same; empty for None."""
    if images is None:
        return ""
    unit = 10 ** max(0, len(str(images)) - 2)  # two significant digits
    return (
        f"; at this {figure} about {-(-images // unit) * unit:,} validation images would settle it "
        "(raise prepare.fractions.val)"
    )


class _Ranking:
    """The accepted candidates, by latency ratio and size."""

    def __init__(
        self, accepted: list[Measured], ratios: Mapping[str, LatencyRatio], rule: Bundle
    ) -> None:
        self._rule = rule
        self._ratio = {m.name: ratios[m.name].value for m in accepted}
        self._fastest = min(accepted, key=lambda m: (self._ratio[m.name], m.name))
        self._fast = [m for m in accepted if self._is_fast(m)]
        self.winner = min(self._fast, key=lambda m: (m.bytes, self._ratio[m.name], m.name))

    def reason(self, m: Measured) -> str:
        """Why an accepted candidate ships, or does not."""
        if m is self.winner:
            return self._why_first()
        winner, fastest = self.winner, self._fastest
        if not self._is_fast(m):
            slower = 100 * (self._ratio[m.name] / self._ratio[fastest.name] - 1)
            times = f"({self._speed(m)}; {self._speed(fastest)})"
            return f"{slower:.1f} % slower than the fastest, {fastest.name} {times}"
        if m.bytes > winner.bytes:
            return f"larger file than {winner.name} ({_kb(m)} and {_kb(winner)})"
        if self._ratio[m.name] > self._ratio[winner.name]:
            speeds = f"({self._speed(m)}; {self._speed(winner)})"
            return f"as small as {winner.name}, but slower {speeds}"
        return f"as small and as fast as {winner.name}, which is first by name"

    def _why_first(self) -> str:
        winner, fastest = self.winner, self._fastest
        near = f"within {100 * self._rule.latency_tolerance:g} % of the lowest latency"
        if len(self._fast) == 1:
            return f"the fastest ({self._speed(winner)}); no other accepted candidate is {near}"
        count = f"of the {len(self._fast)} accepted candidates {near}"
        size = f"the smallest file ({_kb(winner)}) {count}"
        if winner is fastest:
            return f"{size}, and the fastest ({self._speed(winner)})"
        return f"{size} ({self._speed(winner)}; {fastest.name}: {self._speed(fastest)})"

    def _is_fast(self, m: Measured) -> bool:
        limit = self._ratio[self._fastest.name] * (1 + self._rule.latency_tolerance)
        return self._ratio[m.name] <= limit

    def _speed(self, m: Measured) -> str:
        milliseconds = m.latency.of(self._rule.percentile)
        return f"{milliseconds:.3f} ms, latency ratio {self._ratio[m.name]:.3f}"


def _kb(m: Measured) -> str:
    return f"{m.bytes / 1000:,.1f} kB"

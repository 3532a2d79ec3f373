"""Verdict on the selected candidate: is it worth shipping at all?

``select_candidate`` compares the candidates with the fp32 student, which may itself be useless. The
verdict compares the selected one with the teacher, with the majority class and with the limits of
the parameters. All figures are those of the validation images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SelectionError
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.params import Bundle
from pipeline.shipping.select import what_would_settle
from pipeline.statistics import AccuracyDrop, Proportion

Level = Literal["pass", "warn", "fail"]

WARN_DROP = 10.0
"""Drop to the teacher in percentage points above which the verdict warns by default."""

_FEW = 10  # images of a class below which its recall says little
_LISTED = 5  # classes in a message
_LIMITS = {"max_rounds": "evaluate.max_rounds", "time_limit": "evaluate.max_minutes"}


@dataclass(frozen=True)
class Reason:
    """Why a verdict warns or fails.

    Attributes:
        name: The parameter of ``bundle`` that decides; or ``majority_class`` or ``latency``.
        level: ``fail`` if a limit of the parameters is violated; ``warn`` otherwise.
        problem: The problem with its figures.
        remedy: What to do about it.
    """

    name: str
    level: Literal["warn", "fail"]
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class QualityVerdict:
    """The most severe level of its reasons; ``pass`` without any."""

    level: Level
    reasons: list[Reason]

    def __str__(self) -> str:
        names = ", ".join(reason.name for reason in self.reasons)
        return f"{self.level} ({names})" if names else self.level


def judge(evaluation: Evaluation, chosen: str, rule: Bundle) -> QualityVerdict:
    """Judges the selected candidate by its measurements on the validation images.

    A limit that is set decides by the point estimate: the verdict is ``fail`` if ``min_accuracy``,
    ``max_drop_to_teacher`` or ``min_class_recall`` is violated, or if its figure was not measured.
    Otherwise the verdict is ``warn`` if

    - ``max_drop_to_teacher`` is None and the drop exceeds 10 points;
    - ``min_class_recall`` is None and a class has recall 0;
    - the candidate is not better than the majority class: the one-sided 95 % bound of its gain in
      accuracy, paired by image, is not above 0;
    - the latency ratios did not converge.

    Args:
        evaluation: Measurements of one device.
        chosen: Name of the selected candidate.
        rule: Section ``bundle`` of the parameters.

    Raises:
        SelectionError: The evaluation has no numbers of images by class, as those of earlier
            versions.
    """
    images = evaluation.class_images
    if images is None:
        problem = "the evaluation does not list the validation images of each class"
        raise SelectionError(evaluation.device, problem, "run `finch evaluate`")
    m = next(m for m in evaluation.candidates if m.name == chosen)
    reasons = [
        *_accuracy(m, evaluation.images, rule),
        *_teacher(m, evaluation.device, rule),
        *_recalls(m, images, rule),
        *_majority(m, images),
        *_latency(evaluation),
    ]
    levels = {reason.level for reason in reasons}
    level: Level = "fail" if "fail" in levels else "warn" if levels else "pass"
    return QualityVerdict(level, reasons)


def check_verdict(verdict: QualityVerdict, chosen: str) -> None:
    """Refuses a candidate that violates a limit.

    Raises:
        SelectionError: The verdict is ``fail``. The message has the violated limits.
    """
    if verdict.level == "fail":
        failed = [reason for reason in verdict.reasons if reason.level == "fail"]
        problems = "; ".join(f"{reason.name}: {reason.problem}" for reason in failed)
        remedy = "improve the student as the log says, or change the limits in section bundle"
        raise SelectionError(chosen, f"verdict fail, nothing is bundled ({problems})", remedy)


def _accuracy(m: Measured, images: int, rule: Bundle) -> Iterator[Reason]:
    limit = rule.min_accuracy
    if limit is not None and m.accuracy < limit:
        found = Proportion(round(m.accuracy * images), images)
        problem = f"accuracy of {_interval(found)} is below {_percent(limit)}"
        if found.high >= limit:
            problem += what_would_settle(found.images_to_tell_from(limit), "accuracy")
        remedy = "train with more images, longer or a larger student, or lower the limit"
        yield Reason("min_accuracy", "fail", problem, remedy)


def _teacher(m: Measured, device: str, rule: Bundle) -> Iterator[Reason]:
    name, drop, is_set = "max_drop_to_teacher", m.drop_to_teacher, rule.max_drop_to_teacher
    limit = WARN_DROP if is_set is None else is_set
    if drop is None:
        if is_set is not None:
            problem = f"{device} cannot run the teacher, so the drop was not measured"
            yield Reason(name, "fail", problem, "select on another device (bundle.device)")
    elif drop.points > limit:
        problem = (
            f"{drop.points:.2f} points less accurate than the teacher (95 % CI {drop.low:.2f} to "
            f"{drop.high:.2f}; {drop.images:,} images), more than {limit:g}"
        )
        if drop.lower_bound < limit:
            gain = AccuracyDrop.of_counts(drop.gained, drop.lost, drop.images)
            problem += what_would_settle(gain.images_for_bound(-limit), "drop")
        remedy = "distill longer or a larger student, or set the limit that is acceptable"
        yield Reason(name, "warn" if is_set is None else "fail", problem, remedy)


def _recalls(m: Measured, images: Mapping[str, int], rule: Bundle) -> Iterator[Reason]:
    limit, problems = rule.min_class_recall, []
    missing = [repr(name) for name in images if not images[name]]
    low = {
        name: found
        for name, found in _recall_by_class(m, images).items()
        if (found.count == 0 if limit is None else found.value < limit)
    }
    if low:
        below = "0" if limit is None else f"below {_percent(limit)}"
        worst = sorted(low, key=lambda name: (low[name].value, -images[name]))
        listed = _some([f"{name!r} {_interval(low[name])}" for name in worst])
        problems.append(f"recall is {below} for {len(low)} of {len(images)} classes: {listed}")
    if few := sum(images[name] < _FEW for name in low):
        problems.append(f"{few} of them with fewer than {_FEW} images, which say little")
    if missing and limit:
        problems.append(f"no validation images of {_some(missing)}")
    if problems:
        remedy = (
            "add images of these classes, or set distill.sampling to balanced; if they are few, "
            "raise prepare.fractions.val"
        )
        level: Literal["warn", "fail"] = "warn" if limit is None else "fail"
        yield Reason("min_class_recall", level, "; ".join(problems), remedy)


def _majority(m: Measured, images: Mapping[str, int]) -> Iterator[Reason]:
    """Compares with a classifier that always returns the class with most validation images."""
    recalls, largest = _recall_by_class(m, images), max(images, key=lambda name: images[name])
    hits, total = sum(found.count for found in recalls.values()), sum(images.values())
    right = recalls[largest].count
    drop = AccuracyDrop.of_counts(images[largest] - right, hits - right, total)
    if drop.bound >= 0:
        found = _interval(Proportion(hits, total))
        problem = (
            f"accuracy of {found} is not clearly above the "
            f"{100 * images[largest] / total:.1f} % of always answering {largest!r}"
            f"{what_would_settle(drop.images_for_bound(0), 'accuracy')}"
        )
        remedy = "check the labels, train longer, or balance the classes"
        yield Reason("majority_class", "warn", problem, remedy)


def _latency(evaluation: Evaluation) -> Iterator[Reason]:
    if evaluation.ended != "converged":
        limit = _LIMITS[evaluation.ended]
        problem = (
            f"the latency ratios did not settle: {limit} was reached with a 95 % CI half-width of "
            f"{100 * evaluation.half_width:.1f} %"
        )
        yield Reason("latency", "warn", problem, f"measure on an idle machine, or raise {limit}")


def _recall_by_class(m: Measured, images: Mapping[str, int]) -> dict[str, Proportion]:
    """Recall of each class that has images."""
    return {
        name: Proportion(round(recall * images[name]), images[name])
        for name, recall in zip(images, m.recalls, strict=True)
        if recall is not None
    }


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"


def _interval(found: Proportion) -> str:
    images = f"{found.images:,} image{'' if found.images == 1 else 's'}"
    ends = f"95 % CI {100 * found.low:.1f} to {100 * found.high:.1f}"
    return f"{100 * found.value:.1f} % ({ends}; {images})"


def _some(texts: list[str]) -> str:
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")

"""The verdict on the selected candidate, from predictions on validation images."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.errors import SelectionError
from pipeline.measure.accuracy import score
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.params import Bundle
from pipeline.shipping.quality import QualityVerdict, Reason, check_verdict, judge
from pipeline.statistics import paired_drop
from tests.pipeline.shipping.small_chain import RECORDING

LEVELS = ("pass", "warn", "fail")
Labels = NDArray[np.intp]


def evaluation(
    labels: Labels, student: Labels, teacher: Labels | None = None, classes: int = 3
) -> Evaluation:
    """Measurements of one candidate with these predictions, int [n]; the teacher is perfect."""
    scored = vars(score(np.eye(classes)[student], labels))
    m = RECORDING.candidates[0]
    figures = {key: scored[key] for key in ("accuracy", "balanced_accuracy", "recalls")}
    teacher = labels if teacher is None else teacher
    m = replace(m, **figures, drop_to_teacher=paired_drop(teacher == labels, student == labels))
    images = np.bincount(labels, minlength=classes).tolist()
    names = [f"class {number}" for number in range(classes)]
    return replace(
        RECORDING,
        images=len(labels),
        candidates=[m],
        class_images=dict(zip(names, images, strict=True)),
    )


def measured(found: Evaluation) -> Measured:
    return found.candidates[0]


def verdict_of(found: Evaluation, **limits: Any) -> QualityVerdict:
    return judge(found, measured(found).name, Bundle(**limits))


def reasons(found: Evaluation, **limits: Any) -> dict[str, Reason]:
    verdict = verdict_of(found, **limits)
    assert len({reason.name for reason in verdict.reasons}) == len(verdict.reasons)
    return {reason.name: reason for reason in verdict.reasons}


def repeated(*counts: int) -> Labels:
    """Labels 0, 1, ... with these numbers of images."""
    return np.repeat(np.arange(len(counts)), counts)


BALANCED = repeated(40, 40, 40)


@st.composite
def outcomes(draw: st.DrawFn) -> Evaluation:
    """Any labels, predictions of the student and of the teacher, for three classes."""
    rows = st.tuples(*[st.integers(0, 2)] * 3)
    labels, student, teacher = np.array(draw(st.lists(rows, min_size=1, max_size=60))).T
    return evaluation(labels, student, teacher)


limits = st.fixed_dictionaries(
    {
        "min_accuracy": st.none() | st.floats(0, 1),
        "max_drop_to_teacher": st.none() | st.floats(0, 100),
        "min_class_recall": st.none() | st.floats(0, 1),
    }
)


@given(st.lists(st.integers(20, 60), min_size=2, max_size=6), limits)
def test_a_perfect_student_passes_any_limit(counts: list[int], rule: dict[str, float]) -> None:
    labels = repeated(*counts)
    assert verdict_of(evaluation(labels, labels, classes=len(counts)), **rule).level == "pass"


@given(outcomes())
def test_without_limits_nothing_fails(found: Evaluation) -> None:
    assert verdict_of(found).level != "fail"


STRICTER = {"min_accuracy": max, "max_drop_to_teacher": min, "min_class_recall": max}


@given(outcomes(), limits, st.sampled_from(sorted(STRICTER)), st.data())
def test_a_stricter_limit_never_improves_the_verdict(
    found: Evaluation, rule: dict[str, float], key: str, data: st.DataObject
) -> None:
    two = [data.draw(st.floats(0, 100 if key == "max_drop_to_teacher" else 1)) for _ in range(2)]
    strict = STRICTER[key](two)
    (loose,) = (each for each in two if each != strict) if two[0] != two[1] else (strict,)
    levels = [verdict_of(found, **{**rule, key: limit}).level for limit in (loose, strict)]
    assert LEVELS.index(levels[0]) <= LEVELS.index(levels[1])


@given(outcomes())
def test_the_level_is_the_most_severe_of_the_reasons(found: Evaluation) -> None:
    for rule in ({}, {"min_accuracy": 0.5, "max_drop_to_teacher": 5, "min_class_recall": 0.5}):
        verdict = verdict_of(found, **rule)
        levels = ["pass", *(reason.level for reason in verdict.reasons)]
        assert verdict.level == max(levels, key=LEVELS.index)


@given(outcomes())
def test_limits_decide_by_the_point_estimate(found: Evaluation) -> None:
    m = measured(found)
    assert m.drop_to_teacher is not None
    rule = {"min_accuracy": 0.6, "max_drop_to_teacher": 20.0, "min_class_recall": 0.4}
    known = [recall for recall in m.recalls if recall is not None]
    failed = {
        "min_accuracy": m.accuracy < 0.6,
        "max_drop_to_teacher": m.drop_to_teacher.points > 20,
        "min_class_recall": min(known) < 0.4 or len(known) < 3,
    }
    levels = {name: reason.level for name, reason in reasons(found, **rule).items()}
    assert {name for name, level in levels.items() if level == "fail"} == {
        name for name, is_failed in failed.items() if is_failed
    }


@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 100, 300]), st.floats(0, 1))
def test_the_majority_class_is_a_classifier_that_is_compared_image_by_image(
    seed: int, images: int, right: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, images, p=[0.6, 0.3, 0.1])
    student = np.where(rng.random(images) < right, labels, rng.choice(3, images))
    majority = np.bincount(labels).argmax()
    is_better = paired_drop(labels == majority, student == labels).bound < 0
    assert ("majority_class" in reasons(evaluation(labels, student))) == (not is_better)


def test_a_student_that_always_answers_one_class_warns_and_fails_with_a_limit() -> None:
    labels = repeated(60, 40, 5)
    found = evaluation(labels, np.zeros_like(labels), labels)
    default = reasons(found)
    assert set(default) == {"majority_class", "max_drop_to_teacher", "min_class_recall"}
    assert {reason.level for reason in default.values()} == {"warn"}
    for part in ("57.1 %", "105 images", "the 57.1 % of always answering 'class 0'"):
        assert part in default["majority_class"].problem
    recalls = default["min_class_recall"].problem
    assert "0 for 2 of 3 classes: 'class 1' 0.0 % (95 % CI 0.0 to 8.8; 40 images)" in recalls
    assert "1 of them with fewer than 10 images" in recalls
    assert "42.86 points" in default["max_drop_to_teacher"].problem
    strict = reasons(found, min_class_recall=0.3)
    assert strict["min_class_recall"].level == "fail"
    assert strict["max_drop_to_teacher"].level == "warn"


def test_an_accuracy_below_the_limit_is_told_with_its_interval_and_what_would_settle_it() -> None:
    student = np.where(np.arange(120) % 4 == 0, (BALANCED + 1) % 3, BALANCED)  # 75 % are right
    reason = reasons(evaluation(BALANCED, student), min_accuracy=0.8)["min_accuracy"]
    ends = binomtest(90, 120).proportion_ci(0.95, method="exact")
    interval = f"(95 % CI {100 * ends.low:.1f} to {100 * ends.high:.1f}; 120 images)"
    assert f"75.0 % {interval} is below 80 %" in reason.problem
    (text,) = re.findall(r"about ([\d,]+) validation images .*fractions\.val", reason.problem)
    needed = int(text.replace(",", ""))
    assert binomtest(3 * needed // 4, needed).proportion_ci(0.95, method="exact").high < 0.8
    fewer = int(0.85 * needed)
    assert binomtest(3 * fewer // 4, fewer).proportion_ci(0.95, method="exact").high > 0.8
    settled = reasons(evaluation(BALANCED, student), min_accuracy=0.95)["min_accuracy"]
    assert "would settle" not in settled.problem


def test_more_than_ten_points_below_the_teacher_warn_unless_another_limit_is_set() -> None:
    student = np.where(np.arange(120) % 8 == 0, (BALANCED + 1) % 3, BALANCED)  # 12.5 points
    found = evaluation(BALANCED, student)
    reason = reasons(found)["max_drop_to_teacher"]
    drop = measured(found).drop_to_teacher
    assert drop is not None and reason.level == "warn"
    assert f"12.50 points less accurate than the teacher (95 % CI {drop.low:.2f}" in reason.problem
    (text,) = re.findall(r"at this drop about ([\d,]+) validation images", reason.problem)
    times = int(text.replace(",", "")) // 120 + 1
    more = evaluation(np.tile(BALANCED, times), np.tile(student, times))
    assert "would settle" not in reasons(more)["max_drop_to_teacher"].problem
    assert "max_drop_to_teacher" not in reasons(found, max_drop_to_teacher=13)
    assert reasons(found, max_drop_to_teacher=12)["max_drop_to_teacher"].level == "fail"
    nine = np.where(np.arange(120) % 12 == 0, (BALANCED + 1) % 3, BALANCED)
    assert verdict_of(evaluation(BALANCED, nine)).level == "pass"


@pytest.mark.parametrize(("ended", "key"), [("max_rounds", "rounds"), ("time_limit", "minutes")])
def test_a_latency_that_did_not_settle_warns(ended: Any, key: str) -> None:
    found = replace(evaluation(BALANCED, BALANCED), ended=ended, half_width=0.125)
    (reason,) = verdict_of(found).reasons
    assert (reason.name, reason.level) == ("latency", "warn")
    assert "12.5 %" in reason.problem and f"evaluate.max_{key}" in reason.remedy


def test_a_limit_whose_figure_was_not_measured_is_violated() -> None:
    found = evaluation(BALANCED, BALANCED, classes=4)
    absent = replace(found, candidates=[replace(measured(found), drop_to_teacher=None)])
    assert verdict_of(absent).level == "pass"
    strict = reasons(absent, max_drop_to_teacher=50, min_class_recall=0.1)
    assert {reason.level for reason in strict.values()} == {"fail"}
    assert "local cannot run the teacher" in strict["max_drop_to_teacher"].problem
    assert "no validation images of 'class 3'" in strict["min_class_recall"].problem


def test_many_classes_are_listed_in_part_the_worst_first() -> None:
    labels = np.repeat(np.arange(20), 10)
    student = np.where(labels < 8, 19, labels)
    problem = reasons(evaluation(labels, student, classes=20))["min_class_recall"].problem
    assert problem.count("95 % CI") == 5 and problem.endswith("and 3 more")


def test_an_evaluation_of_an_earlier_version_is_refused_by_name() -> None:
    with pytest.raises(SelectionError, match=r"^local: .*each class; run `finch evaluate`"):
        judge(RECORDING, RECORDING.reference, Bundle())


def test_the_error_has_the_violated_limits_alone() -> None:
    labels = repeated(60, 40)
    found = evaluation(labels, np.zeros_like(labels), classes=2)
    check_verdict(verdict_of(found), "int8")
    with pytest.raises(SelectionError, match=r"^int8: verdict fail") as error:
        check_verdict(verdict_of(found, min_accuracy=0.9, min_class_recall=0.5), "int8")
    message = str(error.value)
    assert "min_accuracy: " in message and "min_class_recall: " in message
    assert "majority_class" not in message and "\n" not in message

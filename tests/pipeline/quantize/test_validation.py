"""Which accuracy drops the search for mixed precision accepts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.params import Bundle
from pipeline.quantize.validation import CandidateValidator
from pipeline.statistics import AccuracyDrop, paired_drop


def drop(lost: int, gained: int, images: int) -> AccuracyDrop:
    reference, own = np.ones((2, images), dtype=bool)
    own[:lost] = False
    reference[lost : lost + gained] = False
    return paired_drop(reference, own)


@pytest.mark.parametrize(
    ("max_drop", "max_drop_bound", "accepted"),
    [
        (1.0, 2.2, True),
        (1.0, 2.0, False),
        (0.7, 2.2, False),
    ],
)
def test_the_limits_are_those_of_the_selection(
    max_drop: float, max_drop_bound: float, accepted: bool
) -> None:
    found = drop(8, 4, 525)
    assert 0.7 < found.points < 1.0 and 2.0 < found.bound < 2.2 < found.high
    rule = Bundle(max_drop=max_drop, max_drop_bound=max_drop_bound)
    nothing = np.empty((0, 8, 8, 3), np.uint8)
    validator = CandidateValidator(Path("student.onnx"), nothing, np.empty(0, np.int64), rule)
    assert validator.accepts(found) == accepted


def test_the_metric_is_that_of_the_selection() -> None:
    labels = np.array([0] * 9 + [1])
    student, other = np.eye(2)[labels], np.eye(2)[[0] * 10]
    found = {}
    for metric in ("accuracy", "balanced_accuracy"):
        rule = Bundle.model_validate({"metric": metric})
        nothing = np.empty((0, 8, 8, 3), np.uint8)
        validator = CandidateValidator(Path("student.onnx"), nothing, labels, rule)
        validator.student_logits = student.astype(np.float32)
        found[metric] = validator.drop(other.astype(np.float32)).points
    assert found == {"accuracy": 10.0, "balanced_accuracy": 50.0}

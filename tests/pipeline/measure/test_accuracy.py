import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MeasurementError
from pipeline.measure.accuracy import (
    agreement,
    check_that_logits_vary,
    correct,
    recall_figures,
    score,
)


@st.composite
def labelled(draw):
    """Predictions and labels of some images, and logits that give these predictions."""
    classes = draw(st.integers(2, 5))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=60))
    predictions, labels = (np.array(column) for column in zip(*pairs, strict=True))
    return predictions, labels, np.eye(classes, dtype=np.float32)[predictions]


@given(labelled())
def test_scores_are_the_counts_by_hand(example):
    predictions, labels, logits = example
    measured = score(logits, labels)
    pairs = list(zip(labels.tolist(), predictions.tolist(), strict=True))
    recalls = {
        label: sum(pair == (label, label) for pair in pairs) / labels.tolist().count(label)
        for label in labels.tolist()
    }
    classes = range(logits.shape[1])
    assert measured.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert measured.recalls == [
        pytest.approx(recalls[c]) if c in recalls else None for c in classes
    ]
    assert measured.balanced_accuracy == pytest.approx(sum(recalls.values()) / len(recalls))
    assert measured.confusion == [[pairs.count((a, b)) for b in classes] for a in classes]
    assert correct(logits, labels).tolist() == [a == b for a, b in pairs]


def test_a_constant_prediction_has_the_recall_of_one_class():
    labels = np.array([0] * 97 + [1, 2, 2], dtype=np.uint8)
    logits = np.tile(np.float32([3, 1, 0, 2]), (100, 1))
    measured = score(logits, labels)
    assert measured.accuracy == 0.97
    assert measured.balanced_accuracy == pytest.approx(1 / 3)
    assert measured.recalls == [1, 0, 0, None]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_many_classes_do_not_overflow_the_type_of_the_labels(dtype):
    labels = np.arange(256).astype(dtype)
    assert score(np.eye(256, dtype=np.float32), labels).accuracy == 1


def test_top5_accuracy_agrees_with_sorting():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(200, 9)).astype(np.float32)
    labels = rng.integers(0, 9, 200).astype(np.uint8)
    first = [sorted(range(9), key=lambda c, row=row: -row[c])[:5] for row in logits]
    expected = sum(label in five for label, five in zip(labels, first, strict=True)) / 200
    assert score(logits, labels).top5 == expected


def test_equal_logits_are_ranked_by_class_index():
    assert score(np.zeros((8, 8), np.float32), np.arange(8)).top5 == 5 / 8


def test_top5_accuracy_needs_more_than_five_classes():
    assert score(np.eye(5, dtype=np.float32), np.arange(5)).top5 is None


def logits_of(confidences, right):
    """Logits of two classes, the first with these probabilities, and labels."""
    p = np.array(confidences, dtype=np.float64)
    return np.stack([np.log(p / (1 - p)), 0 * p], axis=1), np.where(right, 0, 1)


def test_the_calibration_error_is_the_one_worked_out_by_hand():
    # Bins are 1/15 wide: 0.62 and 0.65 share one, 0.72 and 0.95 have their own.
    measured = score(*logits_of([0.62, 0.65, 0.72, 0.95], [True, False, False, True]))
    by_hand = (2 * abs(1 / 2 - 0.635) + abs(0 - 0.72) + abs(1 - 0.95)) / 4
    assert measured.calibration_error == pytest.approx(by_hand)


def test_a_calibrated_model_has_no_calibration_error():
    measured = score(*logits_of([0.75] * 8, [True] * 6 + [False] * 2))
    assert measured.calibration_error == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_of_an_overconfident_model_is_its_error_rate():
    sure = np.float32([[1000.0, 0.0]] * 4)  # a probability of just 1
    assert score(sure, np.array([1, 1, 1, 1])).calibration_error == 1
    assert score(sure, np.array([0, 0, 0, 1])).calibration_error == pytest.approx(0.25)


@given(st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_guo_s_sum_over_bins(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (60, 4)), rng.integers(0, 4, 60)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = abs(is_correct[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 60 * gap
    assert score(logits, labels).calibration_error == pytest.approx(expected)


def test_agreement_compares_classes_and_not_logits():
    reference = np.float32([[0, 1], [2, 0], [0, 3], [1, 0]])
    other = np.float32([[5, 6], [0, 1], [0, 9], [4, 0]])
    assert agreement(other, reference) == 0.75


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (np.zeros((3, 2)), np.array([0, 1]), r"labels: .*\(2,\)"),
        (np.zeros((2, 2)), np.array([0, 2]), "2 classes"),
        (np.zeros((2, 2)), np.array([0, -1]), "from -1 to 0"),
        (np.array([[0, np.nan], [1, 2]]), np.array([0, 1]), "not finite for 1 of 2"),
        (np.zeros((0, 2)), np.array([], dtype=int), r"\(0, 2\)"),
    ],
)
@pytest.mark.parametrize("function", [score, correct])
def test_invalid_logits_and_labels_are_rejected(function, logits, labels, match):
    with pytest.raises(MeasurementError, match=match):
        function(logits, labels)


@pytest.mark.parametrize(
    ("logits", "match"),
    [
        (np.float32([[1, 2], [1, 2], [1, 2]]), "every image"),
        (np.float32([[1, 1], [2, 2], [3, 3]]), "every class"),
        (np.zeros((3, 2), np.float32), "every image"),
    ],
)
def test_a_model_that_returns_constants_is_refused(logits, match):
    with pytest.raises(MeasurementError, match=match):
        check_that_logits_vary(logits)


@pytest.mark.parametrize("logits", [[[1, 2], [1, 3]], [[1, 2]], [[1], [2]]])
def test_a_model_that_always_predicts_one_class_is_measured(logits):
    check_that_logits_vary(np.float32(logits))


def test_the_figures_of_the_recalls_name_the_classes():
    found = recall_figures([0.5, 0.25, None, 0.25], ["owl", "jay", "tit", "emu"])
    assert found == {
        "min_recall": 0.25,
        "min_recall_class": "jay",
        "zero_recall_classes": 0,
        "recall": {"owl": 0.5, "jay": 0.25, "emu": 0.25},
    }


def test_many_classes_are_summarized():
    names = [f"class {number}" for number in range(51)]
    found = recall_figures([0.0, 1.0, 0.0, *[0.5] * 48], names)
    assert found == {
        "min_recall": 0.0,
        "min_recall_class": "class 0",
        "zero_recall_classes": 2,
    }
    assert len(recall_figures([0.5] * 50, names[:50])["recall"]) == 50

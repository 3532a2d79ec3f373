import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import multinomial

from pipeline.errors import MeasurementError
from pipeline.measure.accuracy import agreement, correct, paired_drop, score


@st.composite
def labelled(draw):
    """Predictions and labels of some images, and logits that give these predictions."""
    classes = draw(st.integers(2, 5))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=60))
    predictions, labels = (np.array(column) for column in zip(*pairs, strict=True))
    return predictions, labels, np.eye(classes, dtype=np.float32)[predictions]


def drop(lost, gained, images):
    reference, candidate = np.ones((2, images), dtype=bool)
    candidate[:lost] = False
    reference[lost : lost + gained] = False
    return paired_drop(reference, candidate)


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


def test_always_the_same_answer_is_worth_one_class_of_the_present_ones():
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


def test_the_label_is_among_the_first_five_as_often_as_sorting_finds_it():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(200, 9)).astype(np.float32)
    labels = rng.integers(0, 9, 200).astype(np.uint8)
    first = [sorted(range(9), key=lambda c, row=row: -row[c])[:5] for row in logits]
    expected = sum(label in five for label, five in zip(labels, first, strict=True)) / 200
    assert score(logits, labels).top5 == expected


def test_equal_logits_are_in_the_order_of_the_classes():
    assert score(np.zeros((8, 8), np.float32), np.arange(8)).top5 == 5 / 8


def test_with_five_classes_the_first_five_say_nothing():
    assert score(np.eye(5, dtype=np.float32), np.arange(5)).top5 is None


def logits_of(confidences, right):
    """Two classes, the first the answer with this probability, and labels."""
    p = np.array(confidences, dtype=np.float64)
    return np.stack([np.log(p / (1 - p)), 0 * p], axis=1), np.where(right, 0, 1)


def test_the_calibration_error_is_the_one_worked_out_by_hand():
    # Bins are 1/15 wide: 0.62 and 0.65 share one, 0.72 and 0.95 have their own.
    measured = score(*logits_of([0.62, 0.65, 0.72, 0.95], [True, False, False, True]))
    by_hand = (2 * abs(1 / 2 - 0.635) + abs(0 - 0.72) + abs(1 - 0.95)) / 4
    assert measured.calibration_error == pytest.approx(by_hand)


def test_a_model_that_is_right_as_often_as_it_is_sure_is_calibrated():
    measured = score(*logits_of([0.75] * 8, [True] * 6 + [False] * 2))
    assert measured.calibration_error == pytest.approx(0, abs=1e-12)


def test_an_overconfident_model_is_off_by_all_its_confidence():
    sure = np.float32([[1000.0, 0.0]] * 4)  # a probability of just 1
    assert score(sure, np.array([1, 1, 1, 1])).calibration_error == 1
    assert score(sure, np.array([0, 0, 0, 1])).calibration_error == pytest.approx(0.25)


@given(st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_guo_s_sum_over_bins(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (60, 4)), rng.integers(0, 4, 60)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 60 * gap
    assert score(logits, labels).calibration_error == pytest.approx(expected)


def test_agreement_asks_for_the_class_and_not_for_its_score():
    reference = np.float32([[0, 1], [2, 0], [0, 3], [1, 0]])
    other = np.float32([[5, 6], [0, 1], [0, 9], [4, 0]])
    assert agreement(other, reference) == 0.75


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((3, 2)), np.array([0, 1]), r"labels: are \(2,\)"),
        (np.zeros((2, 2)), np.array([0, 2]), "2 classes"),
        (np.zeros((2, 2)), np.array([0, -1]), "from -1 to 0"),
        (np.array([[0, np.nan], [1, 2]]), np.array([0, 1]), "of 1 of 2 images are not finite"),
        (np.zeros((0, 2)), np.array([], dtype=int), r"\(0, 2\)"),
    ],
)
@pytest.mark.parametrize("function", [score, correct])
def test_what_cannot_be_scored_is_refused(function, logits, labels, says):
    with pytest.raises(MeasurementError, match=says):
        function(logits, labels)


def test_models_are_compared_on_the_same_images_alone():
    with pytest.raises(MeasurementError, match="2 answers stand against 3"):
        paired_drop(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


def test_a_drop_counts_the_flips_both_ways():
    reference = np.array([1, 1, 1, 0, 0, 1, 1, 1], dtype=bool)
    candidate = np.array([0, 0, 1, 1, 0, 1, 0, 1], dtype=bool)
    measured = paired_drop(reference, candidate)
    assert (measured.lost, measured.gained, measured.images) == (3, 1, 8)
    assert measured.points == 100 * (reference.mean() - candidate.mean()) == 25


def test_a_drop_on_the_line_is_told_as_the_decimal_number_it_is():
    assert drop(3, 0, 1000).points == 0.3


@pytest.mark.parametrize("images", [1, 50, 700])
def test_no_flips_leave_room_for_a_flip_too_rare_to_be_seen(images):
    same = drop(0, 0, images)
    room = 100 * (1 - 0.025 ** (1 / images))
    assert same.points == 0
    assert (same.low, same.high) == pytest.approx((-room, room))


@given(hnp.arrays(bool, (2, 40)))
def test_a_drop_reads_the_same_from_the_other_side(answers):
    there, back = paired_drop(*answers), paired_drop(*answers[::-1])
    assert (back.points, back.lost, back.gained) == (-there.points, there.gained, there.lost)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert -100 - 1e-9 <= there.low <= there.points <= there.high <= 100 + 1e-9


def test_the_interval_covers_the_true_drop_at_least_as_often_as_it_says():
    images = 20
    outcomes = [(a, b) for a in range(images + 1) for b in range(images + 1 - a)]
    drops = [drop(a, b, images) for a, b in outcomes]
    low, high = np.array([(d.low, d.high) for d in drops]).T / 100
    counts = [(a, b, images - a - b) for a, b in outcomes]
    shares = np.arange(0, 0.81, 0.05)
    for lost, gained in itertools.product(shares, shares):
        if lost + gained < 0.81:
            truth = lost - gained
            chances = multinomial.pmf(counts, images, [lost, gained, 1 - lost - gained])
            inside = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
            assert chances[inside].sum() >= 0.95, (lost, gained)

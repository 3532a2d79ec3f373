import numpy as np
import pytest

from pipeline.compare.analysis import accuracy_in_pairs, most_confused


def logits_of(rows):
    """Logits whose softmax is the rows."""
    return np.log(np.array(rows))


def test_pairs_are_ranked_by_probability_in_both_directions():
    labels = np.array([0, 0, 1, 2, 3])
    logits = logits_of(
        [
            [0.70, 0.10, 0.10, 0.10],
            [0.50, 0.10, 0.30, 0.10],  # class 0 assigns 2 a mean of 0.20
            [0.10, 0.60, 0.10, 0.20],
            [0.15, 0.10, 0.65, 0.10],  # and 2 assigns 0 0.15: sum 0.35
            [0.05, 0.50, 0.05, 0.40],  # 3 assigns 1 0.50 and 1 assigns 3 0.20: sum 0.70
        ]
    )
    assert most_confused(logits, labels, 2) == [(1, 3), (0, 2)]
    assert len(most_confused(logits, labels, 99)) == 6


def test_confusion_does_not_depend_on_class_frequency():
    labels = np.array([0] * 50 + [1, 2])
    logits = logits_of([[0.8, 0.15, 0.05]] * 50 + [[0.05, 0.75, 0.2], [0.05, 0.1, 0.85]])
    # 1 and 2: 0.2 + 0.1; 0 and 1: 0.15 + 0.05, however many images class 0 has.
    assert most_confused(logits, labels, 1) == [(1, 2)]


def test_only_the_two_logits_of_a_pair_count():
    labels = np.array([0, 1, 1, 2])
    logits = np.array([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0], [1.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    assert accuracy_in_pairs(logits, labels, [(0, 1)]) == pytest.approx(2 / 3)
    # In (1, 2) one image of class 1 is wrong; a tie goes to the first class.
    assert accuracy_in_pairs(logits, labels, [(0, 1), (1, 2)]) == pytest.approx((2 + 1 + 1) / 6)


def test_pairs_without_images_have_no_accuracy():
    assert accuracy_in_pairs(np.zeros((1, 4)), np.array([0]), [(1, 2)]) is None

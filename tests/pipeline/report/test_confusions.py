import numpy as np

from pipeline.report.confusions import most_frequent_confusions

CLASSES = ("finch", "wren", "robin")


def test_the_most_frequent_confusions_come_first_with_their_images():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    predictions = np.array([1, 0, 1, 1, 2, 1, 1, 0, 2])
    first, *rest = most_frequent_confusions(predictions, labels, CLASSES)
    assert (first.label, first.predicted) == ("finch", "wren")
    assert (first.indices, first.total) == ([0, 2], 3)
    assert str(first) == "finch classified as wren: 2 of 3 images"
    # One each: half of the two robins, a quarter of the four wrens.
    assert [(c.label, c.predicted) for c in rest] == [("robin", "finch"), ("wren", "robin")]


def test_there_are_no_confusions_without_errors_and_no_more_than_the_limit():
    labels = np.array([0, 1, 2])
    assert most_frequent_confusions(labels, labels, CLASSES) == []
    assert len(most_frequent_confusions(np.array([1, 2, 0]), labels, CLASSES, most=2)) == 2

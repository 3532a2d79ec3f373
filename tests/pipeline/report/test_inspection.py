import numpy as np

from pipeline.report.inspection import commonest_mistakes

CLASSES = ("finch", "wren", "robin")


def logits(said):
    return np.eye(len(CLASSES))[said]


def test_the_commonest_mistakes_come_first_with_their_images():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    said = np.array([1, 0, 1, 1, 2, 1, 1, 0, 2])
    first, *rest = commonest_mistakes(logits(said), labels, CLASSES)
    assert (first.label, first.taken_for, first.images, first.of) == ("finch", "wren", 2, 3)
    assert first.places == (0, 2)
    # One mistake each: of two robins it is half of them, of four wrens a quarter.
    assert [(c.label, c.taken_for) for c in rest] == [("robin", "finch"), ("wren", "robin")]


def test_no_mistake_no_confusion_and_no_more_than_asked_for():
    labels = np.array([0, 1, 2])
    assert commonest_mistakes(logits(labels), labels, CLASSES) == []
    assert len(commonest_mistakes(logits([1, 2, 0]), labels, CLASSES, most=2)) == 2

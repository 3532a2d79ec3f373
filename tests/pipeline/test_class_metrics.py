"""Metrics from counts per class, compared with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from pipeline.class_metrics import METRIC_NAMES, ClassCounts, count_classes

CLASSES = 5
images = st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1))


# scikit-learn warns about classes that do not occur.
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(pairs=st.lists(images, min_size=1, max_size=40))
def test_the_metrics_equal_those_of_scikit_learn(pairs):
    predictions, labels = np.array(pairs).T
    found = count_classes(predictions, labels, CLASSES)
    present = np.unique(labels)
    expected = {
        "accuracy": accuracy_score(labels, predictions),
        "balanced_accuracy": balanced_accuracy_score(labels, predictions),
        "macro_f1": f1_score(labels, predictions, labels=present, average="macro"),
    }
    assert expected == {name: pytest.approx(float(found.metric(name))) for name in METRIC_NAMES}


def test_counts_of_several_models_give_one_metric_each():
    labels = np.array([0, 0, 1, 3])
    models = np.array([[0, 0, 1, 3], [0, 0, 0, 0], [1, 0, 2, 3]])
    each = [count_classes(predictions, labels, CLASSES) for predictions in models]
    together = ClassCounts(
        np.stack([counts.correct for counts in each]),
        each[0].labels,
        np.stack([counts.predictions for counts in each]),
    )
    for name in METRIC_NAMES:
        expected = [float(counts.metric(name)) for counts in each]
        np.testing.assert_allclose(together.metric(name), expected)

"""The pairs of classes that a teacher confuses most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.measure.accuracy import correct


def most_confused(
    logits: NDArray[np.floating], labels: NDArray[np.int64], count: int
) -> list[tuple[int, int]]:
    """Pairs of classes by the mean probability that the teacher assigns to the other class.

    Probabilities and not predictions, since a teacher makes too few errors on few images.

    Args:
        logits: The teacher's logits, [n, classes].
        labels: int64 [n].
        count: Maximum number of pairs.

    Returns:
        Pairs (a, b) with a < b, the most confused first.
    """
    classes = logits.shape[1]
    probabilities = np.zeros((classes, classes))
    np.add.at(probabilities, labels, softmax(logits.astype(np.float64), axis=1))
    probabilities /= np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    a, b = np.triu_indices(classes, k=1)
    confusion = probabilities[a, b] + probabilities[b, a]
    largest = np.argsort(-confusion, kind="stable")[:count]
    return [(int(a[i]), int(b[i])) for i in largest]


def accuracy_in_pairs(
    logits: NDArray[np.floating], labels: NDArray[np.int64], pairs: list[tuple[int, int]]
) -> float | None:
    """Accuracy of the binary decisions between the two classes of each pair.

    An image counts once for every pair that contains its class. None if there is no such image.

    Args:
        logits: [n, classes].
        labels: int64 [n].
        pairs: Pairs of classes (a, b).
    """
    is_correct = []
    for pair in pairs:
        selected = np.isin(labels, pair)
        if selected.any():
            binary = logits[selected][:, list(pair)]
            is_correct.append(correct(binary, (labels[selected] == pair[1]).astype(np.int64)))
    return float(np.concatenate(is_correct).mean()) if is_correct else None

"""The pairs of classes that a teacher finds hardest to tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.measure.accuracy import correct


def most_confused(
    logits: NDArray[np.floating], labels: NDArray[np.int64], count: int
) -> list[tuple[int, int]]:
    """Pairs of classes by the probability that the teacher gives to the other one of the two.

    Probabilities and not predictions, since a teacher makes too few mistakes on a few images.

    Args:
        logits: [n, classes], the teacher's.
        labels: int64 [n].
        count: Pairs to return, at most.

    Returns:
        Pairs (a, b) with a < b, the most confused first.
    """
    classes = logits.shape[1]
    shares = np.zeros((classes, classes))
    np.add.at(shares, labels, softmax(logits.astype(np.float64), axis=1))
    shares /= np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    first, second = np.triu_indices(classes, k=1)
    mixed = shares[first, second] + shares[second, first]
    hardest = np.argsort(-mixed, kind="stable")[:count]
    return [(int(first[i]), int(second[i])) for i in hardest]


def accuracy_inside(
    logits: NDArray[np.floating], labels: NDArray[np.int64], pairs: list[tuple[int, int]]
) -> float | None:
    """Share of decisions between the two classes of a pair that are right.

    An image counts once for every pair that its class is in. None without such images.

    Args:
        logits: [n, classes].
        labels: int64 [n].
        pairs: Classes (a, b).
    """
    answers = []
    for pair in pairs:
        inside = np.isin(labels, pair)
        if inside.any():
            chosen = logits[inside][:, list(pair)]
            answers.append(correct(chosen, (labels[inside] == pair[1]).astype(np.int64)))
    return float(np.concatenate(answers).mean()) if answers else None

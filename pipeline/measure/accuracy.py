"""What a model gets right, and what one model loses against another on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import MeasurementError

_BINS = 15


@dataclass(frozen=True)
class Accuracy:
    """How well a model classifies a set of images; all shares are in 0 ... 1.

    Attributes:
        accuracy: Share of images whose largest logit is at their label.
        balanced_accuracy: Mean recall of the classes that occur among the labels.
        top5: Share of images whose label is among the five largest logits; None with five classes
            or fewer, where that says nothing.
        calibration_error: Expected calibration error: by how much the probability of the answer
            is off the share of right answers, on average over 15 bins of probability (Guo et al.,
            ICML 2017).
        recalls: Recall per class; None for a class without images.
        confusion: Counts; ``confusion[label][prediction]``.
    """

    accuracy: float
    balanced_accuracy: float
    top5: float | None
    calibration_error: float
    recalls: list[float | None]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Drop:
    """What a candidate loses against a reference on the same images.

    Attributes:
        points: Percentage points of accuracy; positive when the candidate is worse.
        low: Lower end of the 95 % interval of ``points``.
        high: Upper end of it.
        lost: Images that only the reference gets right.
        gained: Images that only the candidate gets right.
        images: All images.
    """

    points: float
    low: float
    high: float
    lost: int
    gained: int
    images: int


def score(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Accuracy:
    """Scores logits float [n, classes] against labels int [n].

    Raises:
        MeasurementError: There are no images, the shapes do not fit, or a logit is not finite.
    """
    predictions = _predictions(logits)
    _check_labels(logits, labels)
    classes = logits.shape[1]
    cells = np.ravel_multi_index((labels, predictions), (classes, classes))
    confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    right, per_class = np.diagonal(confusion), confusion.sum(axis=1)
    present = per_class > 0
    recalls = right / np.maximum(per_class, 1)
    return Accuracy(
        accuracy=float(right.sum() / per_class.sum()),
        balanced_accuracy=float(recalls[present].mean()),
        top5=_top(5, logits, labels) if classes > 5 else None,
        calibration_error=_calibration_error(logits, predictions == labels),
        recalls=[float(r) if p else None for r, p in zip(recalls, present, strict=True)],
        confusion=confusion.tolist(),
    )


def correct(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tells of every image whether its largest logit is at its label: bool [n].

    Raises:
        MeasurementError: As for ``score``.
    """
    predictions = _predictions(logits)
    _check_labels(logits, labels)
    right: NDArray[np.bool_] = predictions == labels
    return right


def agreement(logits: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Share of images to which two models, logits float [n, classes], give the same class.

    Raises:
        MeasurementError: As for ``score``.
    """
    if logits.shape != reference.shape:
        raise MeasurementError("logits", f"have shape {logits.shape}, not {reference.shape}")
    return float(np.mean(_predictions(logits) == _predictions(reference)))


def paired_drop(reference_correct: NDArray[np.bool_], candidate_correct: NDArray[np.bool_]) -> Drop:
    """Compares two models on the same images, by the images on which they differ.

    The drop is a difference of two shares, lost and gained. Its 95 % interval is put together from
    their exact (Clopper-Pearson) intervals by the "method of variance estimates recovery" (Zou and
    Donner, Statistics in Medicine 27, 2008), with the correlation that two counts of one
    multinomial have. By enumeration of all outcomes (10 to 120 images) it covers the true drop in
    at least 95 % of cases as long as no more than 80 % of the images flip. (The exact interval
    given the number of flips would not do: it takes that number for certain, and ends at the
    estimate itself when all flips are losses.) Without any flip the interval is as wide as a flip
    that was too rare to be seen allows: about 3.7 images to either side.

    Args:
        reference_correct: bool [n], one value per image.
        candidate_correct: bool [n], in the same order.

    Raises:
        MeasurementError: There are no images, or the two are not of the same ones.
    """
    if reference_correct.shape != candidate_correct.shape or not reference_correct.size:
        raise MeasurementError(
            "paired comparison",
            f"{len(candidate_correct)} answers stand against {len(reference_correct)}",
            "measure both models on the same images",
        )
    images = len(reference_correct)
    lost = int(np.sum(reference_correct & ~candidate_correct))
    gained = int(np.sum(~reference_correct & candidate_correct))
    low, high = _interval_of_difference(lost, gained, images)
    return Drop(
        points=100 * (lost - gained) / images,
        low=100 * low,
        high=100 * high,
        lost=lost,
        gained=gained,
        images=images,
    )


def _interval_of_difference(lost: int, gained: int, images: int) -> tuple[float, float]:
    a, a_low, a_high = _share(lost, images)
    b, b_low, b_high = _share(gained, images)
    both = (1 - a) * (1 - b)
    correlation = -math.sqrt(a * b / both) if both else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(x * x + y * y - 2 * correlation * x * y)

    return a - b - reach(a - a_low, b_high - b), a - b + reach(a_high - a, b - b_low)


def _share(count: int, images: int) -> tuple[float, float, float]:
    from scipy.stats import binomtest

    interval = binomtest(count, images).proportion_ci(0.95, method="exact")
    return count / images, float(interval.low), float(interval.high)


def _top(count: int, logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    own = np.take_along_axis(logits, labels[:, np.newaxis].astype(np.intp), axis=1)
    # As in _predictions, of equal logits the class that comes first is ahead.
    before = np.arange(logits.shape[1]) < labels[:, np.newaxis]
    ahead = (logits > own) | ((logits == own) & before)
    return float(np.mean(ahead.sum(axis=1) < count))


def _calibration_error(logits: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)  # of the largest, whose numerator is 1
    # A bin holds its upper edge, as in the paper; a probability is never 0.
    bins = np.ceil(confidence * _BINS).astype(np.intp) - 1
    # Weighted by its images, a bin's gap is that of its sums.
    gap = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gap).sum() / len(right))


def _predictions(logits: NDArray[np.floating]) -> NDArray[np.intp]:
    if logits.ndim != 2 or 0 in logits.shape:
        raise MeasurementError("logits", f"have shape {logits.shape}, not [images, classes]")
    broken = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if broken:
        raise MeasurementError("logits", f"of {broken} of {len(logits)} images are not finite")
    predictions: NDArray[np.intp] = logits.argmax(axis=1)
    return predictions


def _check_labels(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
    if labels.shape != logits.shape[:1]:
        raise MeasurementError("labels", f"are {labels.shape} for logits of {logits.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise MeasurementError(
            "labels",
            f"reach from {labels.min()} to {labels.max()}, the model has {logits.shape[1]} classes",
            "the model was made from other data",
        )

"""Validation metrics from logits: accuracy, recall, top-5, calibration error, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.class_metrics import ClassCounts, Fraction
from pipeline.errors import MeasurementError
from pipeline.measure.reliability import measure_reliability


@dataclass(frozen=True)
class Metrics:
    """Classification metrics of one model; fractions in [0, 1].

    Attributes:
        accuracy: Top-1 accuracy.
        balanced_accuracy: Mean recall of the classes that occur among the labels.
        top5: Top-5 accuracy; None with five classes or fewer.
        calibration_error: Expected calibration error with 15 bins (Guo et al., ICML 2017).
        recalls: Recall per class; None for a class without images.
        macro_f1: Mean F1 of the classes that occur among the labels; None in recordings of earlier
            versions.
    """

    accuracy: Fraction
    balanced_accuracy: Fraction
    top5: Fraction | None
    calibration_error: Fraction
    recalls: list[Fraction | None]
    macro_f1: Fraction | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Accuracy(Metrics):
    """Metrics with the confusion matrix, ``confusion[label][prediction]``."""

    confusion: list[list[int]]


def score(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Accuracy:
    """Computes the metrics of logits, float [n, classes], for labels, int [n].

    Raises:
        MeasurementError: There are no images, the shapes differ, or a logit is not finite.
    """
    is_correct = correct(logits, labels)
    classes = logits.shape[1]
    cells = np.ravel_multi_index((labels, _predictions(logits)), (classes, classes))
    confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    counts = ClassCounts(np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0))
    recalls = counts.correct / np.maximum(counts.labels, 1)
    present = counts.labels > 0
    return Accuracy(
        accuracy=float(counts.accuracy),
        balanced_accuracy=float(counts.balanced_accuracy),
        top5=_top5(logits, labels) if classes > 5 else None,
        calibration_error=measure_reliability(logits, is_correct).calibration_error,
        recalls=[float(r) if p else None for r, p in zip(recalls, present, strict=True)],
        confusion=confusion.tolist(),
        macro_f1=float(counts.macro_f1),
    )


def recall_figures(
    recalls: Sequence[float | None], classes: Sequence[str], most_classes: int = 50
) -> dict[str, Any]:
    """The recalls of the classes as figures with names.

    Args:
        recalls: Recall per class; None for a class without images, which is left out.
        classes: Names of the classes.
        most_classes: Most classes whose recalls are listed one by one.

    Returns:
        ``min_recall``, ``min_recall_class`` (the first one if several are equal) and
        ``zero_recall_classes``, the number of classes of which no image is recognized; and
        ``recall`` by name of the class, unless there are more than ``most_classes``.
    """
    known = {name: r for name, r in zip(classes, recalls, strict=True) if r is not None}
    lowest = min(known, key=lambda name: known[name])
    figures = {
        "min_recall": known[lowest],
        "min_recall_class": lowest,
        "zero_recall_classes": sum(not recall for recall in known.values()),
    }
    return figures if len(classes) > most_classes else figures | {"recall": known}


def correct(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the prediction of each image equals its label, bool [n]. Raises as ``score``."""
    predictions = _predictions(logits)
    if labels.shape != predictions.shape:
        raise MeasurementError("labels", f"have shape {labels.shape}, logits {logits.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise MeasurementError(
            "labels",
            f"range from {labels.min()} to {labels.max()}, the model has {logits.shape[1]} classes",
            "use a model that was trained on the same data",
        )
    is_correct: NDArray[np.bool_] = predictions == labels
    return is_correct


def check_that_logits_vary(logits: NDArray[np.floating]) -> None:
    """Checks that logits, float [n, classes], depend on the image and on the class.

    A broken model can return constants. Its accuracy is that of one class, which on unbalanced
    images is high.

    Raises:
        MeasurementError: They are the same for every image, or for every class.
    """
    for axis, each in enumerate(("image", "class")):
        if logits.ndim == 2 and logits.shape[axis] > 1 and not np.ptp(logits, axis=axis).any():
            problem = f"returns the same logits for every {each}"
            raise MeasurementError("the model", problem, "remove the candidate, or train the model")


def agreement(logits: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Fraction of images for which two models predict the same class.

    Takes the logits of both, float [n, classes]. Raises as ``score``.
    """
    if logits.shape != reference.shape:
        raise MeasurementError("logits", f"have shape {logits.shape}, not {reference.shape}")
    return float(np.mean(_predictions(logits) == _predictions(reference)))


def _top5(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    # Equal logits are ranked by class index, as argmax does.
    top = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return float(np.mean((top == labels[:, np.newaxis]).any(axis=1)))


def _predictions(logits: NDArray[np.floating]) -> NDArray[np.intp]:
    if logits.ndim != 2 or 0 in logits.shape:
        raise MeasurementError("logits", f"have shape {logits.shape}, not [images, classes]")
    broken = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if broken:
        raise MeasurementError("logits", f"are not finite for {broken} of {len(logits)} images")
    predictions: NDArray[np.intp] = logits.argmax(axis=1)
    return predictions

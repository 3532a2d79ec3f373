"""Accuracy, balanced accuracy and macro F1, from the numbers of images per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]; readers of JSON reject others."""

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]

METRIC_NAMES: dict[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
"""The metrics as they are called in texts."""


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of images per class, for one model or several with the same labels.

    The metrics have the shape [...]. Balanced accuracy and macro F1 are means over the classes that
    occur among the labels.

    Attributes:
        correct: Images of each class that are classified correctly, integers [..., classes].
        labels: Images of each class, integers [classes].
        predictions: Images that are classified as each class, integers [..., classes].
    """

    correct: NDArray[np.integer]
    labels: NDArray[np.integer]
    predictions: NDArray[np.integer]

    def metric(self, name: Metric) -> NDArray[np.float64]:
        """A metric by name, 0…1."""
        values: NDArray[np.float64] = getattr(self, name)
        return values

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Fraction of the images that are classified correctly."""
        mean: NDArray[np.float64] = self.correct.sum(axis=-1) / self.labels.sum(axis=-1)
        return mean

    @property
    def balanced_accuracy(self) -> NDArray[np.float64]:
        """Mean recall of the classes."""
        return self._mean_over_classes(self.correct / np.maximum(self.labels, 1))

    @property
    def macro_f1(self) -> NDArray[np.float64]:
        """Mean F1 of the classes: the harmonic mean of precision and recall."""
        either = np.maximum(self.labels + self.predictions, 1)
        return self._mean_over_classes(2 * self.correct / either)

    def _mean_over_classes(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = values[..., self.labels > 0].mean(axis=-1)
        return mean


def count_classes(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int
) -> ClassCounts:
    """Counts images per class.

    Args:
        predictions: Predicted class of every image, [n].
        labels: Label of every image, [n].
        num_classes: Number of classes.
    """
    found = (labels[predictions == labels], labels, predictions)
    return ClassCounts(*(np.bincount(values, minlength=num_classes) for values in found))

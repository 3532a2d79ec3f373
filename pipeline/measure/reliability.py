"""How well the confidence of a model agrees with its accuracy, and temperature scaling.

The confidence is the softmax probability of the predicted class (Guo et al., ICML 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.class_metrics import Fraction

BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0  # temperatures


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence lies in one bin.

    Attributes:
        images: Their number.
        confidence: Their mean confidence; None without images.
        accuracy: The fraction of them that is classified correctly; None without images.
    """

    images: Annotated[int, Field(ge=0)]
    confidence: Fraction | None
    accuracy: Fraction | None


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram.

    Attributes:
        temperature: What the logits were divided by.
        calibration_error: Expected calibration error.
        bins: Bins of equal width, from confidence 0 to 1.
    """

    temperature: Annotated[float, Field(gt=0)]
    calibration_error: Fraction
    bins: Annotated[list[ReliabilityBin], Field(min_length=1)]


def measure_reliability(
    logits: NDArray[np.floating], is_correct: NDArray[np.bool_], temperature: float = 1.0
) -> Reliability:
    """Sorts images into bins of their confidence.

    Args:
        logits: Float [n, classes], finite.
        is_correct: Whether each prediction is correct, bool [n].
        temperature: What the logits are divided by.
    """
    confidence = 1 / np.exp(_shifted(logits, temperature)).sum(axis=1)
    # As in the paper, a bin includes its upper edge. A confidence is never 0.
    bins = np.ceil(confidence * BINS).astype(np.intp) - 1
    images = np.bincount(bins, minlength=BINS)
    confidences, hits = (
        np.bincount(bins, weights=each, minlength=BINS) for each in (confidence, is_correct)
    )
    # Weighted by the number of images, the gap of a bin is the difference of its sums.
    error = float(np.abs(hits - confidences).sum() / len(is_correct))
    found = []
    for n, total, right in zip(images.tolist(), confidences, hits, strict=True):
        means = (float(total / n), float(right / n)) if n else (None, None)
        found.append(ReliabilityBin(n, *means))
    return Reliability(temperature, error, found)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature in 0.05 ... 20 with the lowest cross-entropy (Guo et al., ICML 2017).

    Logits divided by it give the same predictions with other confidences.

    Args:
        logits: Float [n, classes], finite.
        labels: Int [n].

    Example:
        >>> logits = np.array([[4.0, 0.0], [4.0, 0.0]])
        >>> fit_temperature(logits, np.array([0, 1]))  # right in one of two cases
        20.0
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def cross_entropy(log_temperature: float) -> float:
        shifted = _shifted(logits, float(np.exp(log_temperature)))
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]).mean())

    ends = (float(np.log(_COLDEST)), float(np.log(_HOTTEST)))
    found = minimize_scalar(cross_entropy, bounds=ends, method="bounded")
    # The search approaches the ends, and does not reach them.
    best = min((float(found.x), *ends), key=cross_entropy)
    return round(float(np.exp(best)), 4)


def _shifted(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """The scaled logits minus the largest one of each image."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return scaled

"""Logits of many images, and the top-k labels of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session

BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """A label and its probability in [0, 1]."""

    label: str
    probability: float


def predict(session: Session, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Computes logits, float32 [n, classes], of images, uint8 [n, size, size, 3], RGB.

    The batch size is 32, or 1 if that of the model is fixed. ``images`` may be memory-mapped.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "none given", "pass at least one")
    step = 1 if session.fixed_batch else BATCH
    return np.concatenate(
        [session.run(images[start : start + step])[0] for start in range(0, len(images), step)]
    )


def top_labels(
    probabilities: np.ndarray[Any, Any], labels: Sequence[str], k: int
) -> list[Prediction]:
    """The ``k`` most probable labels of one image, in descending order.

    ``probabilities`` are float32 [classes], in the order of ``labels``.
    """
    if len(labels) != len(probabilities):
        raise RuntimeProblem(
            "labels",
            f"there are {len(labels)}, but the model has {len(probabilities)} classes",
            "unpack the bundle again",
        )
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [Prediction(labels[index], float(probabilities[index])) for index in order]

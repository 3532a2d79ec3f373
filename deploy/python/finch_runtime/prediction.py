"""What the model says of many images, and what it says of one in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session

BATCH = 32


@dataclass(frozen=True)
class Guess:
    """A label and its probability, 0 to 1."""

    label: str
    probability: float


def predict(session: Session, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logits of every image, in batches of 32, or one by one where the model's batch is fixed.

    Args:
        session: The model.
        images: uint8 [n, size, size, 3], RGB, n at least 1; may be memory-mapped.

    Returns:
        float32 [n, classes].
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "there are none", "pass at least one")
    step = 1 if session.fixed_batch else BATCH
    return np.concatenate(
        [session.run(images[start : start + step])[0] for start in range(0, len(images), step)]
    )


def best_guesses(
    probabilities: np.ndarray[Any, Any], labels: Sequence[str], top: int
) -> list[Guess]:
    """The ``top`` most probable labels of one image, most probable first.

    Args:
        probabilities: float32 [classes].
        labels: One label a class, in the order of the model's outputs.
        top: How many; all of them when there are fewer.
    """
    if len(labels) != len(probabilities):
        raise RuntimeProblem(
            "labels",
            f"there are {len(labels)}, but the model tells {len(probabilities)} classes apart",
            "unpack the bundle again",
        )
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Guess(labels[index], float(probabilities[index])) for index in order]

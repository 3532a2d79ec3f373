"""How many images a second a model takes, by the size of the batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session

_FEWEST = 3


@dataclass(frozen=True)
class Rate:
    """Images a second at one size of the batch, by the median time of a batch."""

    batch: int
    images_per_s: float


def sweep_batches(
    session: Session, images: np.ndarray[Any, Any], batches: Sequence[int], seconds: float
) -> list[Rate]:
    """Times batches of real photographs, one size after the other.

    Args:
        session: The model.
        images: uint8 [n, size, size, 3], RGB; taken in turn.
        batches: Sizes to try; 1 alone where the model's batch is fixed.
        seconds: Time for every size; at least 3 batches are timed all the same.

    Raises:
        RuntimeProblem: There is nothing to run.
    """
    if len(images) == 0 or not batches or min(batches) < 1:
        raise RuntimeProblem("throughput", "there is nothing to run", "pass photographs and sizes")
    sizes = [1] if session.fixed_batch else sorted(set(batches))
    return [_time_batch(session, images, size, seconds) for size in sizes]


def best_rate(rates: Sequence[Rate]) -> Rate:
    """The most images a second; of equals the smallest batch."""
    return max(rates, key=lambda rate: (rate.images_per_s, -rate.batch))


def _time_batch(session: Session, images: np.ndarray[Any, Any], size: int, seconds: float) -> Rate:
    batch = np.array(images[np.arange(size) % len(images)])
    session.run(batch)  # the first of a size lays out its memory
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < _FEWEST or time.perf_counter() < end:
        started = time.perf_counter()
        session.run(batch)
        taken.append(time.perf_counter() - started)
    return Rate(size, size / statistics.median(taken))

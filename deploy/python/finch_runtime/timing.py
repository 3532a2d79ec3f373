"""How long one inference takes: wall clock, one image at a time, after a warm-up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session


@dataclass(frozen=True)
class Timing:
    """Seconds of wall clock.

    Attributes:
        first_s: The very first inference of the session.
        seconds: Each timed inference, in the order in which they ran.
    """

    first_s: float
    seconds: list[float]

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which this share (0 to 1) of the timed inferences ended."""
        return float(np.quantile(self.seconds, share)) * 1000


def time_inference(
    session: Session, images: np.ndarray[Any, Any], warmup: int, runs: int
) -> Timing:
    """Time single inferences, from pixels in memory to logits and probabilities in memory.

    Args:
        session: A model that has not run yet, so that ``first_s`` means something.
        images: uint8 [n, size, size, 3], RGB, n at least 1: real photographs, taken in turn.
            Sparse pixels such as zeros can be faster than photographs.
        warmup: Untimed inferences after the first one.
        runs: Timed inferences.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "there are none", "pass some real photographs")
    if warmup < 0 or runs < 1:
        raise RuntimeProblem(
            "warmup and runs", f"{warmup} and {runs} are too few", "use 0 and 1 or more"
        )

    def seconds_of(turn: int) -> float:
        # A photograph is in memory when its turn comes: reading it is not inference.
        image = np.array(images[turn % len(images)][np.newaxis])
        started = time.perf_counter()
        session.run(image)
        return time.perf_counter() - started

    first_s = seconds_of(0)
    for turn in range(warmup):
        seconds_of(turn)
    return Timing(first_s, [seconds_of(turn) for turn in range(runs)])

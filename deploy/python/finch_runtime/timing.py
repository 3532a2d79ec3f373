"""How long one inference takes: wall clock, one image at a time, after a warm-up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.energy import Energy, EnergyMeter
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session


@dataclass(frozen=True)
class Timing:
    """Seconds of wall clock, and the energy that the timed inferences took.

    Attributes:
        first_s: The very first inference of the session.
        seconds: Each timed inference, in the order in which they ran.
        energy: Of all timed inferences, from the first one's begin to the last one's end.
    """

    first_s: float
    seconds: list[float]
    energy: Energy

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which this share (0 to 1) of the timed inferences ended."""
        return float(np.quantile(self.seconds, share)) * 1000


def time_inference(
    session: Session,
    images: np.ndarray[Any, Any],
    warmup: int,
    runs: int,
    *,
    warmup_s: float = 0.0,
) -> Timing:
    """Time single inferences, from pixels in memory to logits and probabilities in memory.

    Args:
        session: A model that has not run yet, so that ``first_s`` means something.
        images: uint8 [n, size, size, 3], RGB, n at least 1: real photographs, taken in turn.
            Sparse pixels such as zeros can be faster than photographs.
        warmup: Fewest untimed inferences after the first one.
        runs: Timed inferences.
        warmup_s: Shortest time of the untimed inferences, in seconds.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "there are none", "pass some real photographs")
    if warmup < 0 or warmup_s < 0 or runs < 1:
        raise RuntimeProblem(
            "warmup and runs",
            f"{warmup}, {warmup_s:g} s and {runs} are too few",
            "use 0, 0 and 1 or more",
        )

    first_s = time_once(session, images, 0)
    warm_up(session, images, warmup, warmup_s)
    meter = EnergyMeter()
    seconds: list[float] = []
    meter.start()
    for turn in range(runs):
        seconds.append(time_once(session, images, turn))
        meter.sample()
    return Timing(first_s, seconds, meter.stop())


def time_once(session: Session, images: np.ndarray[Any, Any], turn: int) -> float:
    """Seconds that the inference of one photograph takes; ``turn`` says which."""
    # A photograph is in memory when its turn comes: reading it is not inference.
    image = np.array(images[turn % len(images)][np.newaxis])
    started = time.perf_counter()
    session.run(image)
    return time.perf_counter() - started


def warm_up(session: Session, images: np.ndarray[Any, Any], runs: int, seconds: float) -> None:
    """Runs so many inferences, and as many more as fit into the time."""
    end = time.perf_counter() + seconds
    turn = 0
    while turn < runs or time.perf_counter() < end:
        time_once(session, images, turn)
        turn += 1

"""What is timed: which images, how many of them, and what is left out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.energy import Energy
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session
from finch_runtime.timing import Timing, time_inference

Array = np.ndarray[Any, Any]


def recording(seen: list[int]) -> Session:
    """A session that notes the first pixel of whatever it is given."""

    def infer(images: Array) -> tuple[Array, Array]:
        assert images.shape == (1, 8, 8, 3)
        seen.append(int(images[0, 0, 0, 0]))
        return np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)

    return Session(Path("model"), "none", "0", 1, {}, 8, True, 0.0, infer)


def test_real_images_take_turns_after_the_warm_up() -> None:
    seen: list[int] = []
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    timing = time_inference(recording(seen), images, warmup=2, runs=7)
    first, warmup, timed = seen[:1], seen[1:3], seen[3:]
    assert (first, warmup, timed) == ([0], [0, 1], [0, 1, 2, 0, 1, 2, 0])
    assert len(timing.seconds) == 7 and min(timing.seconds) > 0 and timing.first_s > 0


def test_a_warm_up_may_be_of_time() -> None:
    seen: list[int] = []
    images = np.zeros((1, 8, 8, 3), np.uint8)
    began = time.perf_counter()
    timing = time_inference(recording(seen), images, warmup=0, runs=1, warmup_s=0.05)
    assert time.perf_counter() - began >= 0.05
    assert len(seen) > 2 and len(timing.seconds) == 1


def test_quantiles_are_those_of_the_order_statistics() -> None:
    timing = Timing(0.0, [0.005, 0.001, 0.002, 0.004, 0.003], Energy(None, ""))
    assert timing.quantile_ms(0.5) == pytest.approx(3)
    assert timing.quantile_ms(1.0) == pytest.approx(5)
    assert timing.quantile_ms(0.9) == pytest.approx(4.6)


@pytest.mark.parametrize(("count", "warmup", "runs"), [(0, 1, 1), (1, -1, 1), (1, 0, 0)])
def test_nothing_to_time_is_refused(count: int, warmup: int, runs: int) -> None:
    with pytest.raises(RuntimeProblem):
        time_inference(recording([]), np.zeros((count, 8, 8, 3), np.uint8), warmup, runs)

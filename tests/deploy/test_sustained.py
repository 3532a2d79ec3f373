"""A run over some time, and how much slower it became."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session
from finch_runtime.sustained import run_sustained, slowdown

Array = np.ndarray[Any, Any]
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


def counting(seen: list[int]) -> Session:
    def infer(images: Array) -> tuple[Array, Array]:
        seen.append(len(images))
        return np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)

    return Session(Path("model"), "none", "0", 1, {}, 8, True, 0.0, infer)


def test_a_run_lasts_as_long_as_it_was_asked_to_and_tells_of_its_parts() -> None:
    seen: list[int] = []
    run = run_sustained(counting(seen), IMAGES, 0.3)
    assert run.runs == len(seen) > 10
    ends = [moment.at_s for moment in run.moments]
    assert ends == sorted(ends) and ends[-1] >= 0.3
    assert 2 < len(ends) <= 61
    assert all(moment.p50_ms > 0 for moment in run.moments)


def test_a_throttled_run_is_slower_by_the_ratio_of_its_ends() -> None:
    # 10 ms each for the first half of the time, then 15 ms.
    taken = [0.010] * 300 + [0.015] * 200
    assert slowdown(np.cumsum(taken).tolist(), taken) == pytest.approx(0.5)


def test_one_slow_inference_is_no_throttling() -> None:
    taken = [0.010] * 100
    taken[97] = 0.1
    assert slowdown(np.cumsum(taken).tolist(), taken) == pytest.approx(0)


@pytest.mark.parametrize("taken", [[0.5], [0.5, 0.25]])
def test_few_inferences_still_have_ends(taken: list[float]) -> None:
    assert slowdown(np.cumsum(taken).tolist(), taken) == pytest.approx(taken[-1] / taken[0] - 1)


def test_no_images_are_refused() -> None:
    with pytest.raises(RuntimeProblem):
        run_sustained(counting([]), IMAGES[:0], 0.1)

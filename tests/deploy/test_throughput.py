"""Images a second, by a model that takes a known time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session
from finch_runtime.throughput import Rate, best_rate, sweep_batches

Array = np.ndarray[Any, Any]
IMAGES = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


def sleeping(seen: list[list[int]], *, fixed: bool = False, seconds: float = 0.0) -> Session:
    def infer(images: Array) -> tuple[Array, Array]:
        seen.append(images[:, 0, 0, 0].tolist())
        time.sleep(seconds)
        nothing = np.zeros((len(images), 2), np.float32)
        return nothing, nothing

    return Session(__file__, "none", "0", 1, {}, 8, fixed, 0.0, infer)  # type: ignore[arg-type]


def test_every_batch_is_full_of_photographs() -> None:
    seen: list[list[int]] = []
    rates = sweep_batches(sleeping(seen), IMAGES, [5, 1, 5, 2], 0.0)
    assert [rate.batch for rate in rates] == [1, 2, 5]
    # One untimed, three timed, however short the time is.
    assert seen == [[0]] * 4 + [[0, 1]] * 4 + [[0, 1, 2, 0, 1]] * 4


def test_a_rate_is_the_batch_over_its_time() -> None:
    (rate,) = sweep_batches(sleeping([], seconds=0.05), IMAGES, [10], 0.0)
    assert rate.images_per_s <= 10 / 0.05


def test_a_model_of_one_image_is_given_one() -> None:
    seen: list[list[int]] = []
    assert [r.batch for r in sweep_batches(sleeping(seen, fixed=True), IMAGES, [4, 8], 0.0)] == [1]
    assert set(map(len, seen)) == {1}


def test_the_best_is_the_fastest_and_of_equals_the_smallest() -> None:
    assert best_rate([Rate(1, 5.0), Rate(8, 9.0), Rate(4, 9.0)]) == Rate(4, 9.0)


@pytest.mark.parametrize(("count", "batches"), [(0, [1]), (3, []), (3, [0])])
def test_nothing_to_run_is_refused(count: int, batches: list[int]) -> None:
    with pytest.raises(RuntimeProblem):
        sweep_batches(sleeping([]), IMAGES[:count], batches, 0.0)

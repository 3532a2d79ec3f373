"""Which images are timed, how often, and what the measurements are, with models of known speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime.benchmark import benchmark, format_lines, measure_rates, run_sustained, slowdown
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import (
    BenchmarkPlan,
    BenchmarkResult,
    Conditions,
    Energy,
    ModelTiming,
    Rate,
    best_rate,
)
from finch_runtime.runtimes import LoadedModel
from finch_runtime.session import Session
from finch_runtime.timing import Timer

Array = np.ndarray[Any, Any]
MakeSession = Callable[..., Session]
IMAGES = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


@pytest.fixture
def batches() -> list[list[int]]:
    """The first pixel of every image in every batch that was run."""
    return []


@pytest.fixture
def make_session(batches: list[list[int]]) -> MakeSession:
    def make(*, fixed_batch: bool = False, seconds: float = 0.0) -> Session:
        def infer(images: Array) -> tuple[Array, Array]:
            batches.append(images[:, 0, 0, 0].tolist())
            time.sleep(seconds)
            zeros = np.zeros((len(images), 2), np.float32)
            return zeros, zeros

        loaded = LoadedModel([], [], {}, 0.0, infer)
        return Session(Path("model"), "none", "0", 1, 8, 3, fixed_batch, loaded)

    return make


def test_runs_cycle_through_the_images_after_the_warm_up(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    timer = Timer(make_session(), IMAGES, 5)
    timer.warm_up(2, 0.0)
    timer.time_turn(7)
    first, warm_up, timed = batches[:1], batches[1:3], batches[3:]
    assert (first, warm_up) == ([[0]], [[0], [1]])
    assert timed == [[0], [1], [2], [0], [1], [2], [0]]
    result = timer.result()
    assert len(result.turns[0]) == 7 and min(result.turns[0]) > 0 and result.first_s > 0
    assert result.baseline_bytes == 5


def test_turns_continue_with_the_next_image_after_untimed_runs(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    timer = Timer(make_session(), IMAGES, None)
    timer.time_turn(2, untimed=1)
    timer.time_turn(2, untimed=1)
    assert (batches[1:4], batches[4:]) == ([[0], [0], [1]], [[2], [2], [0]])
    assert [len(turn) for turn in timer.result().turns] == [2, 2]


def test_a_warm_up_may_be_limited_by_time(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    timer = Timer(make_session(), IMAGES, None)
    started = time.perf_counter()
    timer.warm_up(0, 0.05)
    assert time.perf_counter() - started >= 0.05
    assert len(batches) > 2


def test_a_benchmark_measures_what_is_planned(make_session: MakeSession) -> None:
    result = benchmark(make_session(), IMAGES, BenchmarkPlan(3, 0, 0.0, [2], 0.0, 0.0), None)
    assert [len(turn) for turn in result.timing.turns] == [3]
    assert ([rate.batch for rate in result.rates], result.sustained) == ([2], None)
    assert len(result.conditions) == 2


def test_every_batch_is_filled_with_images(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    rates = measure_rates(make_session(), IMAGES, [5, 1, 5, 2], 0.0)
    assert [rate.batch for rate in rates] == [1, 2, 5]
    # One untimed and three timed batches, even if the duration is 0.
    assert batches == [[0]] * 4 + [[0, 1]] * 4 + [[0, 1, 2, 0, 1]] * 4


def test_throughput_is_the_batch_size_over_its_time(make_session: MakeSession) -> None:
    (rate,) = measure_rates(make_session(seconds=0.05), IMAGES, [10], 0.0)
    assert rate.images_per_s <= 10 / 0.05


def test_a_fixed_batch_is_measured_at_1(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    session = make_session(fixed_batch=True)
    assert [rate.batch for rate in measure_rates(session, IMAGES, [4, 8], 0.0)] == [1]
    assert set(map(len, batches)) == {1}
    assert measure_rates(session, IMAGES, [], 0.0) == []


def test_the_best_rate_is_the_highest_at_the_smallest_batch() -> None:
    assert best_rate([Rate(1, 5.0), Rate(8, 9.0), Rate(4, 9.0)]) == Rate(4, 9.0)
    assert best_rate([]) is None


def test_a_sustained_run_has_its_duration_and_steps(
    make_session: MakeSession, batches: list[list[int]]
) -> None:
    timer = Timer(make_session(), IMAGES, None)
    run = run_sustained(timer, 0.3)
    assert run.runs == len(batches) - 1 > 10
    ends = [step.end_s for step in run.steps]
    assert ends == sorted(ends) and ends[-1] >= 0.3
    assert 2 < len(ends) <= 61
    assert all(step.p50_ms > 0 for step in run.steps)


def test_slowdown_is_the_ratio_of_both_ends_of_a_throttled_run() -> None:
    # 10 ms each for the first half of the time, then 15 ms.
    times = [0.010] * 300 + [0.015] * 200
    assert slowdown(np.cumsum(times).tolist(), times) == pytest.approx(0.5)


def test_one_slow_inference_is_not_a_slowdown() -> None:
    times = [0.010] * 100
    times[97] = 0.1
    assert slowdown(np.cumsum(times).tolist(), times) == pytest.approx(0)


@pytest.mark.parametrize("times", [[0.5], [0.5, 0.25]])
def test_a_slowdown_needs_few_inferences(times: list[float]) -> None:
    assert slowdown(np.cumsum(times).tolist(), times) == pytest.approx(times[-1] / times[0] - 1)


def test_no_images_are_rejected(make_session: MakeSession) -> None:
    with pytest.raises(RuntimeProblem, match="images"):
        Timer(make_session(), IMAGES[:0], None)


def test_printed_percentiles_interpolate_the_order_statistics() -> None:
    timing = ModelTiming(
        *("none", "0", 1, {}, 0.0, 0.0, [[0.005, 0.001, 0.002], [0.004, 0.003]]),
        *(Energy(None, 0, "not measured: no meter"), None, None, None),
    )
    result = BenchmarkResult(timing, [Conditions(None, None)] * 2, [], None)
    lines = [line.split() for line in format_lines("model", result, 3)]
    printed = {words[0]: words[1] for words in lines}
    assert (printed["p50"], printed["p90"], printed["max"]) == ("3.000", "4.600", "5.000")

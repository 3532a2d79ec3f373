"""Throughput, latency with several numbers of threads, and sustained runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from finch_runtime.protocol import BenchmarkPlan, Rate, Sustained, best_rate
from pydantic import Field

from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.params import Evaluate

_RUNS = 50


@dataclass(frozen=True)
class Threaded:
    """Median latency at batch 1, comparable within a sweep only, and throughput per batch."""

    threads: Annotated[int, Field(ge=1)]
    p50_ms: Annotated[float, Field(gt=0)]
    rates: list[Rate]

    @property
    def best(self) -> Rate | None:
        """The highest throughput."""
        return best_rate(self.rates)


@dataclass(frozen=True)
class Throughput:
    """Throughput by number of threads; the first is that of the latency measurement.

    The sustained run has the first number of threads. It is None if it was not requested.
    """

    sweep: Annotated[list[Threaded], Field(min_length=1)]
    sustained: Sustained | None

    @property
    def best(self) -> Rate | None:
        """The highest throughput with the number of threads of the latency measurement."""
        return self.sweep[0].best


def measure_throughput(
    model: MeasuredModel, images: Path, runtime: DeviceRuntime, params: Evaluate
) -> Throughput:
    """Measures a model, in a new process for every number of threads.

    Raises:
        MeasurementError: The model could not be run.
        DeviceError: The device failed.
    """
    sweep: list[Threaded] = []
    sustained: Sustained | None = None
    for threads in (params.threads, *params.thread_sweep):
        duration = 0.0 if sweep else params.sustained_seconds
        plan = BenchmarkPlan(runs=_RUNS, batches=params.batches, sustained_s=duration)
        result = runtime.benchmark(model, images, threads, plan)
        p50_ms = 1e3 * float(np.median(result.timing.turns))
        sweep.append(Threaded(threads, p50_ms, result.rates))
        sustained = sustained or result.sustained
    return Throughput(sweep, sustained)

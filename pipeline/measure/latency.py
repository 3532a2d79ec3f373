"""Latency and resource usage of models, measured so that they can be compared.

The speed of a machine drifts, so the models take turns of a few milliseconds, and their latencies
are compared turn by turn. Latency also varies between processes of the same model, for example with
the memory layout. So each round starts new processes, and confidence intervals are over rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from finch_runtime.compare import turn_ratios
from finch_runtime.energy import total_energy
from finch_runtime.protocol import ComparePlan, Conditions, ModelTiming
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.errors import MeasurementError
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.progress import Track, silent
from pipeline.statistics import LatencyRatio, paired_ratio

Ended = Literal["converged", "max_rounds", "time_limit"]
Percentile = Literal["p50", "p90", "p99"]


@dataclass(frozen=True)
class Latency:
    """Latency at batch 1.

    Attributes:
        p50_ms: Median over the runs of all rounds, in milliseconds.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        max_ms: Maximum.
        round_p50s_ms: Median of each round.
        round_ratios: Latency ratios to the reference in each round, by percentile. ``p50`` is the
            median of the turns' ratios. ``p90`` and ``p99`` are ratios of percentiles over all runs
            of a round, since a turn has too few runs.
        load_ms: Time to load the model, median over the rounds.
        first_ms: First inference of a process, median over the rounds.
        runs: Number of timed inferences.
        threads: Threads of the inference runtime.
        runtime: Inference runtime.
        runtime_version: Its version.
        settings: Runtime settings that affect speed.
    """

    p50_ms: PositiveFloat
    p90_ms: PositiveFloat
    p99_ms: PositiveFloat
    max_ms: PositiveFloat
    round_p50s_ms: list[PositiveFloat]
    round_ratios: dict[Percentile, list[PositiveFloat]]
    load_ms: PositiveFloat
    first_ms: PositiveFloat
    runs: PositiveInt
    threads: PositiveInt
    runtime: str
    runtime_version: str
    settings: dict[str, str]

    def of(self, percentile: Percentile) -> float:
        """A percentile over the runs of all rounds, in milliseconds."""
        return {"p50": self.p50_ms, "p90": self.p90_ms, "p99": self.p99_ms}[percentile]

    def ratio(self, percentile: Percentile = "p50", to: Latency | None = None) -> LatencyRatio:
        """Latency ratio to the reference, or to another model that was timed in the same rounds.

        Raises:
            MeasurementError: The ratios of this percentile were not recorded, or the numbers of
                rounds differ.
        """
        own = self.round_ratios.get(percentile)
        other = to.round_ratios.get(percentile) if to else None
        if own is None or (to and other is None):
            raise MeasurementError(
                "latency",
                f"the {percentile} of each round was not recorded",
                "run `finch evaluate` again, or set bundle.percentile to p50",
            )
        return paired_ratio(own, other)


@dataclass(frozen=True)
class Footprint:
    """Resource usage at batch 1.

    Attributes:
        peak_bytes: Peak resident memory, median over the processes; None if unknown.
        baseline_bytes: Peak resident memory before the inference runtime was imported.
        runtime_bytes: Disk usage of the inference runtime's package; None if unknown.
        energy_mj: Energy of the machine per inference, in millijoules; None if not measured.
        energy_source: Names of the meters, or the reason why there is no measurement.
    """

    peak_bytes: PositiveInt | None
    baseline_bytes: PositiveInt | None
    runtime_bytes: PositiveInt | None
    energy_mj: NonNegativeFloat | None
    energy_source: str


@dataclass(frozen=True)
class LatencyPlan:
    """How models are timed, and when there are enough rounds.

    Attributes:
        reference: Name of the model that the others are compared with.
        threads: Threads of the inference runtime.
        rounds: Minimum number of rounds.
        max_rounds: Maximum number of rounds.
        max_minutes: Time limit in minutes; a round that would exceed it is not started.
        max_half_width: Rounds end when the 95 % CI of every ratio has at most this half-width,
            relative to the ratio.
        optional: Models whose ratios may have a larger half-width.
        turns: Turns, runs and warm-up of every model in a round.
    """

    reference: str
    threads: int
    rounds: int
    max_rounds: int
    max_minutes: float = math.inf
    max_half_width: float = 1.0
    optional: Sequence[str] = ()
    turns: ComparePlan = field(default_factory=ComparePlan)


@dataclass(frozen=True)
class Rounds:
    """Results by model, and the state of the machine before and after each round.

    ``half_width`` is the largest relative 95 % CI half-width of the required ratios.
    """

    count: int
    ended: Ended
    half_width: float
    latencies: dict[str, Latency]
    footprints: dict[str, Footprint]
    conditions: list[Conditions]


def measure_latency(
    models: Mapping[str, MeasuredModel],
    images: Path,
    runtime: DeviceRuntime,
    plan: LatencyPlan,
    track: Track = silent,
) -> Rounds:
    """Times models in alternation, in new processes each round, until the ratios are precise.

    The inferences cycle through ``images``, a ``.npy`` file, uint8 [n, height, width, channels].

    Raises:
        MeasurementError: A model could not be run; the message names it.
        DeviceError: The device failed.
    """
    by_model: dict[str, list[ModelTiming]] = {name: [] for name in models}
    conditions: list[Conditions] = []
    ended: Ended | None = None
    half_width = math.inf
    started = time.monotonic()
    for count in track(range(1, plan.max_rounds + 1), "timing", plan.max_rounds):
        turns = replace(plan.turns, seed=count - 1)
        result = runtime.compare(list(models.values()), images, plan.threads, turns)
        for name, timing in zip(models, result.models, strict=True):
            by_model[name].append(timing)
        conditions += result.conditions
        if count < plan.rounds:
            continue
        half_width = _largest_half_width(by_model, plan)
        next_end = (time.monotonic() - started) / 60 * (count + 1) / count
        if half_width <= plan.max_half_width:
            ended = "converged"
        elif next_end > plan.max_minutes:
            ended = "time_limit"
        if ended:
            break
    reference = by_model[plan.reference]
    return Rounds(
        count=len(reference),
        ended=ended or "max_rounds",
        half_width=half_width,
        latencies={name: _summarize(timings, reference) for name, timings in by_model.items()},
        footprints={name: _footprint(timings) for name, timings in by_model.items()},
        conditions=conditions,
    )


def _largest_half_width(by_model: Mapping[str, Sequence[ModelTiming]], plan: LatencyPlan) -> float:
    required = by_model.keys() - {plan.reference, *plan.optional}
    ratios = (_median_ratios(by_model[name], by_model[plan.reference]) for name in required)
    return max((paired_ratio(each).half_width for each in ratios), default=0.0)


def _median_ratios(timings: Sequence[ModelTiming], reference: Sequence[ModelTiming]) -> list[float]:
    pairs = zip(timings, reference, strict=True)
    return [float(np.median(turn_ratios(own, other))) for own, other in pairs]


def _round_ratios(
    timings: Sequence[ModelTiming], reference: Sequence[ModelTiming]
) -> dict[Percentile, list[float]]:
    own, other = (
        np.percentile([each.turns for each in timed], [90, 99], axis=(1, 2))
        for timed in (timings, reference)
    )
    p90, p99 = (own / other).tolist()
    return {"p50": _median_ratios(timings, reference), "p90": p90, "p99": p99}


def _summarize(timings: Sequence[ModelTiming], reference: Sequence[ModelTiming]) -> Latency:
    seconds = np.array([timing.turns for timing in timings])
    p50, p90, p99 = 1e3 * np.percentile(seconds, [50, 90, 99])
    last = timings[-1]
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(1e3 * seconds.max()),
        round_p50s_ms=(1e3 * np.median(seconds, axis=(1, 2))).tolist(),
        round_ratios=_round_ratios(timings, reference),
        load_ms=float(1e3 * np.median([timing.load_s for timing in timings])),
        first_ms=float(1e3 * np.median([timing.first_s for timing in timings])),
        runs=seconds.size,
        threads=last.threads,
        runtime=last.runtime,
        runtime_version=last.runtime_version,
        settings=last.settings,
    )


def _footprint(timings: Sequence[ModelTiming]) -> Footprint:
    """Summarizes the processes of one model."""
    energy = total_energy([timing.energy for timing in timings])
    return Footprint(
        peak_bytes=_median([timing.peak_bytes for timing in timings]),
        baseline_bytes=_median([timing.baseline_bytes for timing in timings]),
        runtime_bytes=_median([timing.runtime_bytes for timing in timings]),
        energy_mj=None if energy.joules is None else 1e3 * energy.joules / energy.runs,
        energy_source=energy.source,
    )


def _median(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(np.median(known)) if known else None

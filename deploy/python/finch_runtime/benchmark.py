"""Benchmark of one model: latency, memory, energy, throughput, and a sustained run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

import numpy as np

from finch_runtime import protocol
from finch_runtime.conditions import read_conditions
from finch_runtime.energy import EnergyMeter
from finch_runtime.protocol import BenchmarkPlan, BenchmarkResult, Conditions, Rate
from finch_runtime.rows import Images
from finch_runtime.session import Session
from finch_runtime.timing import Timer

_MIN_BATCHES = 3
_SUSTAINED_STEPS = 60


def benchmark(
    session: Session, images: Images, plan: BenchmarkPlan, baseline_bytes: int | None
) -> BenchmarkResult:
    """Measures a model that has not run yet; the arguments are those of ``Timer``.

    Raises:
        RuntimeProblem: There are no images, or they do not fit the model.
    """
    before = read_conditions()
    timer = Timer(session, images, baseline_bytes)
    timer.warm_up(plan.warmup, plan.warmup_s)
    timer.time_turn(plan.runs)
    timer.measure_energy()
    return BenchmarkResult(
        timing=timer.result(),  # first: larger batches need more memory
        conditions=[before, read_conditions()],
        rates=measure_rates(session, images, plan.batches, plan.batch_s),
        sustained=run_sustained(timer, plan.sustained_s) if plan.sustained_s else None,
    )


def measure_rates(
    session: Session, images: Images, batches: Sequence[int], seconds: float
) -> list[Rate]:
    """Measures throughput at each batch size, or at 1 if the model's batch size is fixed.

    Images are repeated to fill a batch. ``seconds`` is the duration per batch size, in which at
    least 3 batches are timed.
    """
    sizes = {1} if session.fixed_batch and batches else set(batches)
    return [_measure_rate(session, images, size, seconds) for size in sorted(sizes)]


def _measure_rate(session: Session, images: Images, size: int, seconds: float) -> Rate:
    batch = np.array(images[np.arange(size) % len(images)])
    session.run(batch)  # the first batch of a size allocates memory
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _MIN_BATCHES or time.perf_counter() < end:
        started = time.perf_counter()
        session.run(batch)
        times.append(time.perf_counter() - started)
    return Rate(size, size / statistics.median(times))


def run_sustained(timer: Timer, seconds: float) -> protocol.Sustained:
    """Runs single inferences without pauses, and records latency and machine state over time."""
    meter = EnergyMeter()
    ends: list[float] = []
    times: list[float] = []
    steps: list[protocol.SustainedStep] = []
    step_start = 0
    meter.start()
    started = time.perf_counter()
    while not ends or ends[-1] < seconds:
        times.append(timer.run_once(len(times)))
        ends.append(time.perf_counter() - started)
        meter.sample()
        if ends[-1] >= min(seconds, (len(steps) + 1) * seconds / _SUSTAINED_STEPS):
            p50_ms = 1e3 * float(np.median(times[step_start:]))
            steps.append(protocol.SustainedStep(ends[-1], p50_ms, read_conditions()))
            step_start = len(times)
    return protocol.Sustained(len(times), steps, slowdown(ends, times), meter.stop(len(times)))


def slowdown(ends: Sequence[float], times: Sequence[float]) -> float:
    """Relative increase of the median latency from the first to the last tenth of a run.

    ``ends`` are the ends of the inferences since the start of the run, ``times`` their latencies.
    """
    at, latency = np.array(ends), np.array(times)
    first = latency[: max(1, int(np.searchsorted(at, at[-1] / 10, side="right")))]
    last = latency[min(len(at) - 1, int(np.searchsorted(at, 0.9 * at[-1], side="right"))) :]
    return float(np.median(last) / np.median(first)) - 1


def format_lines(name: str, result: BenchmarkResult, images: int) -> Iterator[str]:
    """Formats the measurements of a model, which cycled through so many images, as text."""
    timing = result.timing
    seconds = [run for turn in timing.turns for run in turn]
    plural = "" if timing.threads == 1 else "s"
    yield f"{name}: {timing.runtime} {timing.runtime_version}, {timing.threads} thread{plural}"
    yield f"{len(seconds)} runs at batch 1 over {images} images"
    yield f"load {timing.load_s * 1000:10.3f} ms"
    yield f"first {timing.first_s * 1000:9.3f} ms"
    for title, quantile in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        yield f"{title} {1e3 * float(np.quantile(seconds, quantile)):11.3f} ms"
    if timing.peak_bytes is not None and timing.baseline_bytes is not None:
        yield (
            f"memory {timing.peak_bytes / 1e6:8.1f} MB peak, {timing.baseline_bytes / 1e6:.1f} MB "
            f"before importing {timing.runtime}"
        )
    if timing.energy.joules is None:
        yield f"energy {timing.energy.source}"
    else:
        mj = 1e3 * timing.energy.joules / timing.energy.runs
        yield f"energy {mj:8.3f} mJ per inference ({timing.energy.source})"
    yield f"machine {_format_conditions(result.conditions[-1])}"
    best = protocol.best_rate(result.rates)
    if best is not None:
        rates = ", ".join(f"{rate.batch}: {rate.images_per_s:.1f}" for rate in result.rates)
        yield f"throughput {best.images_per_s:.1f} images/s at batch {best.batch} ({rates})"
    if result.sustained:
        last = result.sustained.steps[-1]
        yield (
            f"sustained {last.end_s:.1f} s, {result.sustained.runs} runs: latency changed by "
            f"{result.sustained.slowdown:+.1%} from the first to the last tenth; "
            f"{_format_conditions(last.conditions)}"
        )


def _format_conditions(conditions: Conditions) -> str:
    temperature, frequency = conditions.temperature_c, conditions.frequency_mhz
    celsius = "temperature unknown" if temperature is None else f"{temperature:.1f} °C"
    clock = "frequency unknown" if frequency is None else f"{frequency:.0f} MHz"
    return f"{celsius}, {clock}"

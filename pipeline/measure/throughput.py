"""What a model does beyond single inferences: images a second, more threads, minutes on end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import Device
from pipeline.measure.footprint import Moment
from pipeline.measure.runtime import THIS_MACHINE, MeasuredModel, run_model

_RUNS = 50


@dataclass(frozen=True)
class Rate:
    """Images a second at one size of the batch."""

    batch: int
    images_per_s: float


@dataclass(frozen=True)
class Threaded:
    """A model with some number of threads, in a process of its own.

    Attributes:
        threads: Threads of the inference runtime.
        p50_ms: Median latency at batch 1; compare it within the sweep alone.
        rates: Throughput by batch; empty when it was not asked for.
    """

    threads: int
    p50_ms: float
    rates: list[Rate]

    @property
    def best(self) -> Rate | None:
        """The most images a second."""
        return max(self.rates, key=lambda rate: rate.images_per_s, default=None)


@dataclass(frozen=True)
class SustainedMoment:
    """A part of a sustained run: its end, its median latency, and the machine then."""

    at_s: float
    p50_ms: float
    conditions: Moment


@dataclass(frozen=True)
class Sustained:
    """Inference without a pause.

    Attributes:
        runs: Inferences.
        slowdown: Share by which the last tenth of the time was slower than the first.
        energy_mj: Millijoules of an inference; None when it was not measured.
        moments: The run's parts, in order.
    """

    runs: int
    slowdown: float
    energy_mj: float | None
    moments: list[SustainedMoment]


@dataclass(frozen=True)
class Throughput:
    """What one model does beyond single inferences.

    Attributes:
        sweep: By number of threads: the one that latency was measured with, then the others.
        sustained: With the first of them; None when it was not asked for.
    """

    sweep: list[Threaded]
    sustained: Sustained | None

    @property
    def best(self) -> Rate | None:
        """The most images a second with the threads that latency was measured with."""
        return self.sweep[0].best


def measure_throughput(
    model: MeasuredModel,
    images_path: Path,
    *,
    threads: Sequence[int],
    batches: Sequence[int],
    sustained_seconds: float,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
) -> Throughput:
    """Measures a model, in a process of its own for every number of threads.

    Args:
        model: What to run.
        images_path: ``.npy`` file, uint8 [n, height, width, 3], RGB.
        threads: Numbers of threads of the inference runtime; the first is the one of latency.
        batches: Batches to try, where the model takes them; none: no throughput.
        sustained_seconds: How long to run on with the first number of threads; 0: not at all.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        device: Where.

    Raises:
        MeasurementError: The model could not be run.
        DeviceError: The device failed.
    """
    sweep: list[Threaded] = []
    sustained: Sustained | None = None
    for number in threads:
        arguments = ["--runs", str(_RUNS), "--json"]
        if batches:
            arguments += ["--batches", *map(str, batches)]
        else:
            arguments += ["--throughput-seconds", "0"]
        if sustained_seconds and not sweep:
            arguments += ["--sustained", str(sustained_seconds)]
        text = run_model(
            "bench",
            model,
            images_path,
            arguments,
            threads=number,
            runtime_folder=runtime_folder,
            device=device,
        )
        try:
            answer = json.loads(text)
            p50_ms = 1e3 * float(np.median(answer["seconds"]))
            rates = TypeAdapter(list[Rate]).validate_python(answer["rates"])
            sweep.append(Threaded(number, p50_ms, rates))
            if answer["sustained"]:
                sustained = _read_sustained(answer["sustained"])
        except (ValueError, TypeError, KeyError, ValidationError):
            raise MeasurementError(model.path, "the device runtime's answer is not whole") from None
    return Throughput(sweep, sustained)


def _read_sustained(answer: dict[str, Any]) -> Sustained:
    joules = answer["energy"]["joules"]
    return Sustained(
        runs=answer["runs"],
        slowdown=answer["slowdown"],
        energy_mj=None if joules is None else 1e3 * joules / answer["runs"],
        moments=TypeAdapter(list[SustainedMoment]).validate_python(answer["moments"]),
    )

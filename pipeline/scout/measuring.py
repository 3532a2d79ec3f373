"""One untrained student through export, quantisation and measurement."""

from __future__ import annotations

import math
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pipeline.errors import FinchError
from pipeline.export.onnx_export import export_onnx
from pipeline.measure.latency import Stopping, measure_latency
from pipeline.measure.runtime import MeasuredModel
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.cost import count_multiply_adds
from pipeline.params import Candidate, Scout
from pipeline.quantize import CandidateSet, make_candidates
from pipeline.scout.photographs import Photographs
from pipeline.statistics import paired_ratio

_RUNS_A_TURN = 5


@dataclass(frozen=True)
class ScoutSetup:
    """What all students have in common.

    Attributes:
        photographs: What they are measured and calibrated with.
        candidates: What each is made into.
        opset: ONNX operator set of the export.
        scout: Rounds, runs and warm-up.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.
    """

    photographs: Photographs
    candidates: Sequence[Candidate]
    opset: int
    scout: Scout
    threads: int
    runtime_folder: Path


@dataclass(frozen=True)
class Timing:
    """Latency of one candidate at batch 1, in milliseconds.

    Attributes:
        name: The candidate.
        bytes: Size of its files.
        p50_ms: Geometric mean of the rounds' medians.
        low_ms: Lower end of its 95 % interval over the rounds.
        high_ms: Upper end of it.
        round_p50s_ms: Median of every round.
    """

    name: str
    bytes: int
    p50_ms: float
    low_ms: float
    high_ms: float
    round_p50s_ms: list[float]


@dataclass(frozen=True)
class Student:
    """An architecture at a resolution.

    Attributes:
        model: Name of the network.
        image_size: Side of its images in pixels.
        multiply_adds: Of one image; None where it could not be built.
        parameters: Trainable numbers; None where it could not be built.
        timings: One a candidate; empty where it could not be measured.
        problem: Why it could not be; None where it was.
    """

    model: str
    image_size: int
    multiply_adds: int | None
    parameters: int | None
    timings: list[Timing]
    problem: str | None = None

    @property
    def best(self) -> Timing | None:
        """The candidate that is surest to be fast: its interval ends lowest."""
        return min(self.timings, key=lambda timing: timing.high_ms, default=None)


def measure_student(model: str, image_size: int, bench: ScoutSetup) -> Student:
    """Takes a student with fresh weights the way that a trained one goes.

    Latency hangs on the architecture and not on what the weights are, so nothing is trained.

    Args:
        model: As ``zoo.full_name`` gives it.
        image_size: Side of the images in pixels.
        bench: How to measure.

    Returns:
        Its figures or, where it cannot go that way, the reason why.

    Raises:
        OSError: A file cannot be written.
    """
    multiply_adds, parameters, timings, problem = None, None, [], None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        doing = f"building it for images of {image_size} px"
        try:
            network = _build(model, image_size, bench.photographs.classes)
            multiply_adds = count_multiply_adds(network)
            parameters = sum(parameter.numel() for parameter in network.parameters())
            doing = "exporting it"
            exported = _export(network, bench, folder)
            doing = "making its candidates"
            images = bench.photographs.at(image_size)
            made = make_candidates(exported, bench.candidates, images, folder / "candidates")
            doing = "timing its candidates"
            np.save(folder / "images.npy", images)
            timings = _time(made, folder, bench)
        except OSError:
            raise
        except FinchError as error:
            problem = str(error).replace(f"{folder}/", "")
        except Exception as error:  # networks, exporters and quantisers raise anything at all
            detail = textwrap.shorten(str(error), 300) or type(error).__name__
            problem = f"{doing} failed ({detail})"
    return Student(model, image_size, multiply_adds, parameters, timings, problem)


def _build(model: str, image_size: int, classes: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = tuple(str(label) for label in range(classes))
        return build_classifier(model, names, image_size).eval()


def _export(
    network: Classifier, bench: ScoutSetup, folder: Path
) -> dict[Literal["dynamic", 1], Path]:
    """Exports the student with each batch that a candidate wants."""
    exported = {}
    for batch in {candidate.batch for candidate in bench.candidates}:
        exported[batch] = folder / f"student-{batch}.onnx"
        spec = network.spec
        export_onnx(
            network.backbone,
            spec.mean,
            spec.std,
            spec.image_size,
            exported[batch],
            batch=batch,
            opset=bench.opset,
        )
    return exported


def _time(made: CandidateSet, folder: Path, bench: ScoutSetup) -> list[Timing]:
    rounds_wanted = bench.scout.rounds
    latencies = measure_latency(
        {
            c.name: MeasuredModel(folder / "candidates" / c.model, c.runtime)
            for c in made.candidates
        },
        folder / "images.npy",
        reference=made.candidates[0].name,
        # As many rounds as wanted: no candidate is held to another here.
        stopping=Stopping(rounds_wanted, rounds_wanted, math.inf, 1.0),
        turns=bench.scout.runs // _RUNS_A_TURN,
        runs=_RUNS_A_TURN,
        warmup=bench.scout.warmup,
        warmup_seconds=0.0,
        threads=bench.threads,
        runtime_folder=bench.runtime_folder,
    ).latencies
    timings = []
    for candidate in made.candidates:
        rounds = latencies[candidate.name].round_p50s_ms
        p50 = paired_ratio(rounds, [1.0] * len(rounds))  # to one millisecond
        timings.append(
            Timing(candidate.name, candidate.bytes, p50.value, p50.low, p50.high, rounds)
        )
    return timings

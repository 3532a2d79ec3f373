"""Exports, quantizes and measures one untrained student."""

from __future__ import annotations

import math
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from finch_runtime.protocol import ComparePlan

from pipeline.errors import FinchError
from pipeline.export.onnx_export import export_onnx
from pipeline.measure.latency import LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.inference import count_multiply_adds
from pipeline.params import Candidate, Scout
from pipeline.quantize.candidates import CandidateSet, make_candidates
from pipeline.scout.images import ScoutImages
from pipeline.statistics import paired_ratio

_RUNS_PER_TURN = 5


@dataclass(frozen=True)
class ScoutSetup:
    """Images and settings that all students share.

    Attributes:
        images: Images for calibration and measurement.
        candidates: Candidates of the pipeline; every student is converted to those that need no
            training.
        opset: ONNX operator set of the export.
        scout: Rounds, runs and warm-up.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that contains the package ``finch_runtime``.
    """

    images: ScoutImages
    candidates: Sequence[Candidate]
    opset: int
    scout: Scout
    threads: int
    runtime_folder: Path

    @property
    def measured(self) -> list[Candidate]:
        """Candidates that a student with random weights can be converted to."""
        return [candidate for candidate in self.candidates if candidate.method != "qat"]

    @property
    def left_out(self) -> list[str]:
        """Names of the other candidates, which are made from the files of ``finch qat``."""
        return [candidate.name for candidate in self.candidates if candidate.method == "qat"]


@dataclass(frozen=True)
class Timing:
    """Latency of one candidate at batch size 1, and the size of its files.

    ``p50_ms`` is the geometric mean of the medians of the rounds, ``round_p50s_ms``, and ``low_ms``
    to ``high_ms`` its 95 % confidence interval over the rounds.
    """

    name: str
    bytes: int
    p50_ms: float
    low_ms: float
    high_ms: float
    round_p50s_ms: list[float]


@dataclass(frozen=True)
class Student:
    """A network at an image size.

    Attributes:
        model: Name of the network.
        image_size: Height and width of the images, in pixels.
        multiply_adds: Multiply-adds per image; None if the network could not be built.
        parameters: Number of parameters; None if the network could not be built.
        timings: One per candidate; empty if the student could not be measured.
        problem: Why it could not be measured, else None.
    """

    model: str
    image_size: int
    multiply_adds: int | None
    parameters: int | None
    timings: list[Timing]
    problem: str | None = None

    @property
    def best(self) -> Timing | None:
        """Timing of the candidate whose interval has the lowest upper end."""
        return min(self.timings, key=lambda timing: timing.high_ms, default=None)

    @property
    def bound_ms(self) -> float:
        """Upper end of the interval of ``best``, in milliseconds; inf without a measurement."""
        return math.inf if self.best is None else self.best.high_ms


def measure_student(model: str, image_size: int, setup: ScoutSetup) -> Student:
    """Exports, quantizes and measures a student with random weights.

    Latency depends on the architecture, not on the weights, so nothing is trained. ``model`` is a
    full name, see ``zoo.full_name``. If a step fails, ``problem`` is the reason.

    Raises:
        OSError: A file cannot be written.
    """
    multiply_adds, parameters, timings, problem = None, None, [], None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step = f"building the network for images of {image_size} px"
        try:
            network = _build(model, image_size, setup.images.classes)
            multiply_adds = count_multiply_adds(network)
            parameters = sum(parameter.numel() for parameter in network.parameters())
            step = "conversion to the candidates"
            images = setup.images.at(image_size)
            made = _convert(network, images, setup, folder)
            step = "timing the candidates"
            np.save(folder / "images.npy", images)
            timings = _time(made, setup, folder)
        except OSError:
            raise
        except FinchError as error:
            problem = str(error).replace(f"{folder}/", "")
        except Exception as error:  # networks, exporters and quantizers raise any type
            detail = textwrap.shorten(str(error), 300) or type(error).__name__
            problem = f"{step} failed ({detail})"
    return Student(model, image_size, multiply_adds, parameters, timings, problem)


def _build(model: str, image_size: int, classes: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = tuple(str(label) for label in range(classes))
        return build_classifier(model, names, image_size).eval()


def _convert(
    network: Classifier, images: np.ndarray, setup: ScoutSetup, folder: Path
) -> CandidateSet:
    exported = {}
    for batch in {candidate.batch for candidate in setup.measured}:
        path = exported[batch] = folder / f"student-{batch}.onnx"
        export_onnx(network.backbone, network.spec, path, batch=batch, opset=setup.opset)
    return make_candidates(exported, setup.measured, images, folder / "candidates")


def _time(made: CandidateSet, setup: ScoutSetup, folder: Path) -> list[Timing]:
    scout = setup.scout
    models = {
        c.name: MeasuredModel(folder / "candidates" / c.model, c.runtime) for c in made.candidates
    }
    plan = LatencyPlan(
        reference=made.reference,
        threads=setup.threads,
        rounds=scout.rounds,
        max_rounds=scout.rounds,
        turns=ComparePlan(scout.runs // _RUNS_PER_TURN, _RUNS_PER_TURN, scout.warmup, warmup_s=0.0),
    )
    runtime = DeviceRuntime(setup.runtime_folder)
    latencies = measure_latency(models, folder / "images.npy", runtime, plan).latencies
    timings = []
    for c in made.candidates:
        rounds = latencies[c.name].round_p50s_ms
        p50 = paired_ratio(rounds)  # relative to one millisecond
        timings.append(Timing(c.name, c.bytes, p50.value, p50.low, p50.high, rounds))
    return timings

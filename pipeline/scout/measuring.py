"""Exports, quantizes and measures one untrained student."""

from __future__ import annotations

import logging
import math
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, image_size, in_pixels
from finch_runtime.protocol import ComparePlan
from numpy.typing import NDArray

from pipeline.errors import FinchError
from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import BATCHES, check_parity, normalize_images
from pipeline.measure.latency import LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.models.classifier import Classifier, build_classifier, gray_classifier
from pipeline.models.inference import measure_cost
from pipeline.models.reparameterize import inference_form
from pipeline.params import Candidate, Scout
from pipeline.quantize.candidates import CandidateSet, make_candidates
from pipeline.scout.images import ScoutImages
from pipeline.scout.untrained import make_realistic
from pipeline.statistics import paired_ratio

log = logging.getLogger(__name__)

_RUNS_PER_TURN = 5
# Of an exported file from PyTorch. A deep network with random weights amplifies float rounding to
# 1e-3 or more; a wrong operator changes the logits by more than that.
_TOLERANCE = 0.02


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
        image_size: Size of the images.
        multiply_adds: Multiply-adds per image, in the form for inference; None if the network could
            not be built.
        parameters: Number of parameters in that form; None if the network could not be built.
        timings: One per candidate; empty if the student could not be measured.
        problem: Why it could not be measured, else None.
    """

    model: str
    image_size: ImageSize
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


def measure_student(model: str, height: int, setup: ScoutSetup) -> Student:
    """Exports, quantizes and measures a student with random weights.

    Latency depends on the architecture, not on the weights, so nothing is trained. ``model`` is a
    full name, see ``zoo.full_name``. If a step fails, ``problem`` is the reason.

    Raises:
        OSError: A file cannot be written.
    """
    size = setup.images.size_at(height)
    multiply_adds, parameters, timings, problem = None, None, [], None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step = f"building the network for images of {in_pixels(size)}"
        try:
            images = setup.images.at(height)
            network = _build(model, images, setup.images.classes)
            cost = measure_cost(network)
            multiply_adds, parameters = cost.multiply_adds, cost.parameters
            step = "conversion to the candidates"
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
    return Student(model, size, multiply_adds, parameters, timings, problem)


def _build(model: str, images: NDArray[np.uint8], classes: int) -> Classifier:
    """The network in its form for inference, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = tuple(str(label) for label in range(classes))
        network = build_classifier(model, names, image_size(*images.shape[1:3]))
        if images.shape[3] == 1:
            network = gray_classifier(network)
        pixels = normalize_images(_compared(images), network.spec)
        make_realistic(network.backbone, pixels)
    form = inference_form(network.backbone, pixels)
    if form.problem:
        log.warning("%s is measured in its training form: %s", model, form.problem)
    return Classifier(form.network, network.spec).eval()


def _compared(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As many images as a comparison with PyTorch needs; if there are fewer, also their negatives.

    A few are enough, because wrong operators change the logits of every image.
    """
    count = max(BATCHES) + 1
    both = images if len(images) >= count else np.concatenate([images, 255 - images])
    return np.resize(both, (count, *images.shape[1:]))


def _convert(
    network: Classifier, images: NDArray[np.uint8], setup: ScoutSetup, folder: Path
) -> CandidateSet:
    exported = {}
    backbone, spec = network.backbone, network.spec
    for batch in {candidate.batch for candidate in setup.measured}:
        path = exported[batch] = folder / f"student-{batch}.onnx"
        export_onnx(backbone, spec, path, batch=batch, opset=setup.opset)
        check_parity(backbone, spec, path, _compared(images), tolerance=_TOLERANCE)
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

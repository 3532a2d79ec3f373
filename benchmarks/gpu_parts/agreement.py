"""The same training on the CPU and on the device: losses of the first steps, final accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.losses import DistillationLoss
from pipeline.models.pretrained import init_classifier
from pipeline.params import load_params
from pipeline.training.distillation_inputs import open_distillation_inputs
from stages.workspace import Workspace

from .finding import Finding, at_most, guarded
from .settings import Settings
from .small_project import project, run_stage, student_accuracy, taught_project, test_images
from .timing import run_training

STEPS = 20
# On a CPU, the losses of this project change by at most 0.001 % if the initial weights change by a
# millionth, and by 0.1 % in bf16. The devices differ in the order of sums.
LOSS_TOLERANCE = 0.001
BF16_LOSS_TOLERANCE = 0.01


def find(settings: Settings) -> Iterator[Finding]:
    """Differences of losses and accuracies."""
    yield from guarded("first losses", lambda: _compare_losses(settings))
    yield from guarded("accuracy", lambda: _compare_accuracies(settings))


def _compare_losses(settings: Settings) -> Iterator[Finding]:
    folder = taught_project(settings, "losses")
    expected = first_losses(folder, "cpu", "fp32")
    tolerances = {"fp32": LOSS_TOLERANCE, "bf16": BF16_LOSS_TOLERANCE}
    if settings.tiny:  # a tiny batch makes the loss too sensitive for bf16
        tolerances.popitem()
    for precision, tolerance in tolerances.items():
        found = first_losses(folder, settings.device_type, precision)
        differences = [abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True)]
        name = f"losses of the first {len(found)} steps, {precision} relative to fp32 on the CPU"
        yield at_most(f"{name}: largest difference", 100 * max(differences), "%", 100 * tolerance)


def first_losses(folder: Path, device: str, precision: str) -> list[float]:
    """Losses of the first steps of the student of a project, without TF32."""
    changes = [f"run.device={device}", f"distill.precision={precision}", "distill.epochs=1000"]
    params, paths = load_params(folder / "params.yaml", changes), Workspace(folder)
    inputs = open_distillation_inputs(
        params, params.distill, paths.prepared, paths.teacher, paths.teacher_logits
    )
    losses: list[Tensor] = []
    _record(inputs.task.loss, losses)
    torch.manual_seed(0)
    size = inputs.data.size_at(params.distill.image_size)
    student = init_classifier(params.distill, inputs.data.classes, size).model
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        run_training(student, inputs.task, inputs.device, lambda: len(losses) >= STEPS)
    return [float(loss) for loss in losses]


def _record(loss: DistillationLoss, values: list[Tensor]) -> None:
    """Makes a loss append its values, scalars on its device."""
    compute = loss.terms

    def terms(*logits: Any, **options: Any) -> dict[str, Tensor]:
        found = compute(*logits, **options)
        values.append(torch.stack(list(found.values())).sum().detach())
        return found

    loss.terms = terms  # type: ignore[method-assign]


def _compare_accuracies(settings: Settings) -> Iterator[Finding]:
    runs = {"fp32 on the CPU": ("cpu", "fp32"), f"fp32 on {settings.device_type}": (None, "fp32")}
    runs[f"precision auto on {settings.device_type}"] = (None, "auto")
    if settings.tiny:
        runs.popitem()
    accuracies: dict[str, float] = {}
    for name, (device, precision) in runs.items():
        device = device or settings.device_type
        changes = {
            "run": {"device": device},
            "finetune": {"precision": precision},
            "distill": {"precision": precision},
        }
        number = len(accuracies)
        folder = project(settings, f"accuracy-{number}-{device}-{precision}", changes)
        for stage in ("finetune", "cache_logits", "distill"):
            run_stage(stage, folder)
        accuracies[name] = student_accuracy(folder)
        yield Finding(f"finetune, cache-logits, distill, {name}: accuracy", accuracies[name], "%")
    images = test_images(folder)
    (reference, expected), *others = accuracies.items()
    for name, accuracy in others:
        noise = sampling_noise(expected, images)
        what = f"accuracy: difference between {name} and {reference}"
        yield at_most(what, abs(accuracy - expected), "points", round(noise, 1))


def sampling_noise(percent: float, images: int) -> float:
    """Half-width of the 95 % interval of the difference of two accuracies, in points.

    The accuracies are those of two samples of ``images`` test images each. An accuracy of 0 or 1
    counts as half an image from it.
    """
    fraction = min(max(percent / 100, 0.5 / images), 1 - 0.5 / images)
    return 196 * math.sqrt(2 * fraction * (1 - fraction) / images)

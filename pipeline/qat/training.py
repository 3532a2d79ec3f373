"""Training of a fake-quantized student."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipeline.class_metrics import ClassCounts, Metric, count_classes
from pipeline.data.prepared import Split
from pipeline.models.classifier import Classifier
from pipeline.qat.fake_quantize import FakeQuantizedClassifier
from pipeline.training.loop import TrainingResult
from pipeline.training.state import Epoch
from pipeline.training.validation import compute_logits


@dataclass(frozen=True)
class QATResult:
    """The student after QAT. Accuracies are validation accuracies, 0…1.

    Attributes:
        model: Fake-quantized student, on the CPU, in evaluation mode.
        accuracy_fp32: Accuracy of the fp32 student.
        accuracy_int8_initial: Accuracy of the fake-quantized student before QAT.
        accuracy_int8: Accuracy of ``model``.
        best_epoch: Epoch of the weights; 0 if no epoch was better than the initial weights.
        history: All epochs.
    """

    model: FakeQuantizedClassifier
    accuracy_fp32: float
    accuracy_int8_initial: float
    accuracy_int8: float
    best_epoch: int
    history: list[Epoch]


def train_qat(
    student: Classifier,
    quantized: FakeQuantizedClassifier,
    train: Callable[[Classifier], TrainingResult],
    val: Split,
    device: torch.device,
    metric: Metric = "accuracy",
) -> QATResult:
    """Trains a fake-quantized student in place.

    If no epoch has a better value of ``metric`` than the initial weights, those are restored.

    Args:
        student: The fp32 student.
        quantized: Result of ``fake_quantize`` for this student.
        train: Trains a model; see ``pipeline.training.loop.train``.
        val: Validation split.
        device: Training device.
        metric: Validation metric; ``keep_by`` of the recipe.
    """
    fp32, initial = (_counts(model, val, device) for model in (student, quantized))
    initial_weights = copy.deepcopy(quantized.state_dict())
    result = train(quantized)
    best_epoch, accuracy = result.best.epoch, result.best.val_accuracy
    if not result.best.metric(metric) > initial.metric(metric):
        quantized.load_state_dict(initial_weights)
        best_epoch, accuracy = 0, float(initial.accuracy)
    quantized.cpu().eval()
    accuracies = (float(fp32.accuracy), float(initial.accuracy), accuracy)
    return QATResult(quantized, *accuracies, best_epoch, result.history)


def _counts(model: Classifier, split: Split, device: torch.device) -> ClassCounts:
    logits = compute_logits(model.to(device), split, device)
    return count_classes(logits.argmax(axis=1), split.labels, len(model.spec.classes))

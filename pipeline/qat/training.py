"""What the teacher can give back of what quantisation took."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.data.prepared import Split
from pipeline.models.classifier import Classifier
from pipeline.qat.fake_quantize import FakeQuantized
from pipeline.training.history import Epoch
from pipeline.training.loop import Trained
from pipeline.training.validation import compute_logits


@dataclass(frozen=True)
class Recovered:
    """The int8 student that is kept.

    Attributes:
        model: Fake-quantised, on the CPU, in evaluation mode.
        accuracy_before: Validation accuracy of the fp32 student, 0…1.
        accuracy_quantized: Of the int8 student that learning starts from.
        accuracy: Of the one that is kept.
        epoch: That it is of, the earlier on a tie; 0 where no epoch made it better.
        history: All epochs.
    """

    model: FakeQuantized
    accuracy_before: float
    accuracy_quantized: float
    accuracy: float
    epoch: int
    history: list[Epoch]

    def figures(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "val_accuracy_before": self.accuracy_before,
            "val_accuracy_quantized": self.accuracy_quantized,
            "val_accuracy": self.accuracy,
            "best_epoch": self.epoch,
        }


def recover(
    student: Classifier,
    quantized: FakeQuantized,
    learn: Callable[[FakeQuantized], Trained],
    val: Split,
    device: torch.device,
) -> Recovered:
    """Trains a quantised student on, and keeps the best of all epochs and of the start.

    Args:
        student: What was quantised.
        quantized: By ``fake_quantize``; trained in place.
        learn: Trains it in place, such as ``train`` with all else given.
        val: What they are judged by.
        device: Where to train.
    """
    before = _accuracy(student, val, device)
    at_start = _accuracy(quantized, val, device)
    start = copy.deepcopy(quantized.state_dict())
    trained = learn(quantized)
    better = trained.best.val_accuracy > at_start
    if not better:
        quantized.load_state_dict(start)
    quantized.cpu().eval()
    return Recovered(
        quantized,
        before,
        at_start,
        trained.best.val_accuracy if better else at_start,
        trained.best.epoch if better else 0,
        trained.history,
    )


def _accuracy(model: Classifier, split: Split, device: torch.device) -> float:
    logits = compute_logits(model.to(device), split, device)
    return float((logits.argmax(axis=1) == split.labels).mean())

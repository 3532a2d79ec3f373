"""Inference on a split: logits and validation accuracy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.training.distributed import ProcessGroup
from pipeline.training.finite_checks import LOWER_LR, check_weights
from pipeline.views import to_unit_range


def compute_logits(
    model: nn.Module, split: Split, device: torch.device, batch_size: int = 128
) -> NDArray[np.float32]:
    """Logits [n, classes] of a split without augmentation, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        batches = [
            model(to_unit_range(split.images[start : start + batch_size], device)).float().cpu()
            for start in range(0, len(split), batch_size)
        ]
    return torch.cat(batches).numpy()


def validation_accuracy(
    model: nn.Module, split: Split, device: torch.device, step: str, group: ProcessGroup
) -> float:
    """Accuracy on a split, 0…1, in evaluation mode; each process evaluates its shard.

    Raises:
        TrainingError: A logit is not finite; the message names ``step``.
    """
    group.broadcast_buffers(model)
    shard = group.shard_slice(len(split))
    correct = non_finite = 0
    if shard.start < shard.stop:
        images, labels = split.images[shard], split.labels[shard]
        logits = compute_logits(model, Split(images, labels), device)
        non_finite = int(not np.isfinite(logits).all())
        correct = int((logits.argmax(1) == labels).sum())
    correct, non_finite = group.all_reduce_sum(correct, non_finite)
    if non_finite:
        check_weights(model, step)
        raise TrainingError(step, "the logits on the validation split are not finite", LOWER_LR)
    return correct / len(split)

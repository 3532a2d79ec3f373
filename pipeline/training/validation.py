"""Inference on a split: logits, and the numbers that validation metrics are computed from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.class_metrics import ClassCounts, count_classes
from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.models.fitting_batches import FittingBatches
from pipeline.training.distributed import ProcessGroup
from pipeline.training.finite_checks import LOWER_LR, check_weights
from pipeline.transfers import to_host
from pipeline.views import to_unit_range


def compute_logits(
    model: nn.Module, split: Split, device: torch.device, batch_size: int = 128
) -> NDArray[np.float32]:
    """Logits [n, classes] of a split without augmentation, in evaluation mode.

    They stay on the device until the last batch, because reading them waits for a GPU. Batches that
    do not fit in the memory of a GPU are halved.

    Raises:
        TrainingError: A batch of one image does not fit in the memory of the GPU.
    """

    def run(rows: slice) -> Tensor:
        logits: Tensor = model(to_unit_range(split.images[rows], device))
        return logits.float()

    fitting = FittingBatches("the network in evaluation mode", device, batch_size)
    model.eval()
    with torch.inference_mode():
        batches = fitting.run(run, len(split))
        return to_host(torch.cat(batches))


def validate(
    model: nn.Module,
    split: Split,
    num_classes: int,
    device: torch.device,
    step: str,
    group: ProcessGroup,
) -> ClassCounts:
    """Classifies a split in evaluation mode; each process evaluates its shard.

    Args:
        model: Returns logits [n, num_classes].
        split: Images and labels.
        num_classes: Number of classes.
        device: Device of the model.
        step: Name of the training step, for messages.
        group: Process group of the training run.

    Raises:
        TrainingError: A logit is not finite; the message names ``step``.
    """
    group.broadcast_buffers(model)
    shard = group.shard_slice(len(split))
    counts, non_finite = np.zeros((3, num_classes), dtype=np.int64), 0
    if shard.start < shard.stop:
        images, labels = split.images[shard], split.labels[shard]
        logits = compute_logits(model, Split(images, labels), device)
        non_finite = int(not np.isfinite(logits).all())
        found = count_classes(logits.argmax(1), labels, num_classes)
        counts[:] = found.correct, found.labels, found.predictions
    non_finite, *summed = group.all_reduce_sum(non_finite, *counts.ravel().tolist())
    if non_finite:
        check_weights(model, step)
        raise TrainingError(step, "the logits on the validation split are not finite", LOWER_LR)
    return ClassCounts(*np.reshape(summed, counts.shape))

"""What a network makes of images that it does not learn from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.data.prepared import Split
from pipeline.errors import TrainingError
from pipeline.training.distributed import Group
from pipeline.training.finite_checks import CALM_DOWN, check_weights
from pipeline.views import to_unit_range


def compute_logits(
    model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 128
) -> NDArray[np.float32]:
    """Logits float32 [n, classes] of a split's images as they are, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(to_unit_range(split.images[start : start + batch_size], device)).float().cpu()
            for start in range(0, len(split), batch_size)
        ]
    return torch.cat(parts).numpy()


def validation_accuracy(
    model: nn.Module, split: Split, device: torch.device, moment: str, group: Group
) -> float:
    """Share of a split's images that a network gets right, 0…1; the processes share them out.

    Args:
        model: Put into evaluation mode; every process gets the statistics of the first.
        split: Images and labels.
        device: Where the network is.
        moment: When this is, for a message.
        group: The processes that train together.

    Raises:
        TrainingError: A logit is not finite.
    """
    group.share_statistics(model)
    mine = group.stretch(len(split))
    right = bad = 0
    if mine.start < mine.stop:
        images, labels = split.images[mine], split.labels[mine]
        answered = compute_logits(model, Split(images, labels), device)
        bad = int(not np.isfinite(answered).all())
        right = int((answered.argmax(1) == labels).sum())
    right, bad = group.add_up(right, bad)
    if bad:
        check_weights(model, moment)
        problem = "the network's logits on the validation images are not finite"
        raise TrainingError(moment, problem, CALM_DOWN)
    return right / len(split)

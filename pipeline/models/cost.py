"""What a network costs to run, counted."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.classifier import Classifier


def count_multiply_adds(model: Classifier) -> int:
    """Multiply-adds of convolutions and matrix products for one image."""
    size = model.spec.image_size
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size, device=device))
    model.train(was_training)
    return int(counter.get_total_flops() // 2)  # torch counts a multiply-add as two

"""Inference with a trained network, and its cost."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.classifier import Classifier


def teacher_logits(model: nn.Module, pixels: Tensor, precision: torch.dtype) -> Tensor:
    """Logits for use in a loss, float32 [n, classes], without a gradient to the network.

    The network must be in evaluation mode. Pixels are float32 [n, 3, size, size] in [0, 1], on its
    device. ``precision`` is the autocast dtype; float32 disables autocast.
    """
    mixed = precision != torch.float32
    with torch.inference_mode():
        with torch.autocast(pixels.device.type, precision) if mixed else nullcontext():
            logits: Tensor = model(pixels)
        logits = logits.float()
    # Autograd rejects inference tensors; a copy made outside of inference mode is a normal tensor.
    return logits.clone()


def count_multiply_adds(model: Classifier) -> int:
    """Multiply-adds of convolutions and matrix products for one image."""
    size = model.spec.image_size
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size, device=device))
    model.train(was_training)
    return int(counter.get_total_flops() // 2)  # torch counts a multiply-add as two operations

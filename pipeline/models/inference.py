"""Inference with a trained network, and its cost."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from finch_runtime.image_size import height_and_width
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.classifier import Classifier
from pipeline.models.reparameterize import inference_form


@dataclass(frozen=True)
class Cost:
    """Cost of a network as it is exported, in the form for inference.

    Attributes:
        multiply_adds: Multiply-adds of convolutions and matrix products for one image.
        parameters: Number of parameters.
    """

    multiply_adds: int
    parameters: int


def teacher_logits(model: nn.Module, pixels: Tensor, precision: torch.dtype) -> Tensor:
    """Logits for use in a loss, float32 [n, classes], without a gradient to the network.

    The network must be in evaluation mode. Pixels are float32 [n, channels, height, width] in
    [0, 1], on its device. ``precision`` is the autocast dtype; float32 disables autocast.
    """
    mixed = precision != torch.float32
    with torch.inference_mode():
        with torch.autocast(pixels.device.type, precision) if mixed else nullcontext():
            logits: Tensor = model(pixels)
        logits = logits.float()
    # Autograd rejects inference tensors; a copy made outside of inference mode is a normal tensor.
    return logits.clone()


def count_multiply_adds(model: Classifier) -> int:
    """Multiply-adds of a classifier, see ``Cost``."""
    return measure_cost(model).multiply_adds


def measure_cost(model: Classifier) -> Cost:
    """Cost of a classifier in its form for inference; the classifier is not modified."""
    shape = (2, model.spec.channels, *height_and_width(model.spec.image_size))
    pixels = torch.linspace(0, 1, math.prod(shape)).view(shape)
    network = inference_form(model, pixels).network
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixels[:1])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(counter.get_total_flops() // 2, parameters)  # torch counts two operations each

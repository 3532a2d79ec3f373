"""Artifacts of JPEG compression."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pipeline.views.rng import Column, half_strengths


def compress(pixels: Tensor, numbers: NDArray[np.float64], min_quality: int) -> Tensor:
    """Compresses every second image as a JPEG file, on the CPU, and decodes it again.

    Args:
        pixels: float32 [n, 3, size, size] in [0, 1].
        numbers: float64, indexed by ``Column``.
        min_quality: Minimum quality, 1 to 100.
    """
    qualities = 100 - np.round(half_strengths(numbers, Column.JPEG, 100 - min_quality)).astype(int)
    selected = np.flatnonzero(qualities < 100)
    if not len(selected):
        return pixels
    pixels = pixels.clone()
    for index, quality in zip(selected.tolist(), qualities[selected].tolist(), strict=True):
        image = pixels[index].mul(255).round().to("cpu", torch.uint8)
        pixels[index] = F.jpeg(image, quality).to(pixels) / 255
    return pixels

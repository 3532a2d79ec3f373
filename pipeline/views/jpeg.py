"""Artifacts of JPEG compression."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pipeline.transfers import to_device, to_host
from pipeline.views.rng import Column, half_strengths


def compress(pixels: Tensor, numbers: NDArray[np.float64], min_quality: int) -> Tensor:
    """Compresses every second image as a JPEG file, on the CPU, and decodes it again.

    This is the only change that reads the pixels, so that it waits for a GPU.

    Args:
        pixels: float32 [n, 3, height, width] in [0, 1].
        numbers: float64, indexed by ``Column``.
        min_quality: Minimum quality, 1 to 100.
    """
    qualities = 100 - np.round(half_strengths(numbers, Column.JPEG, 100 - min_quality)).astype(int)
    selected = np.flatnonzero(qualities < 100)
    if not len(selected):
        return pixels
    rows = to_device(selected, pixels.device)
    files = to_host(pixels[rows].mul(255).round().to(torch.uint8))
    for image, quality in zip(files, qualities[selected].tolist(), strict=True):
        image[...] = F.jpeg(torch.from_numpy(image), quality).numpy()
    pixels = pixels.clone()
    pixels[rows] = to_device(files, pixels.device, pixels.dtype) / 255
    return pixels

"""Means of an image, the same to the bit whatever else is in its batch."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 2**24  # whole numbers that a pixel's 0…1 is told by; as fine as single precision


def mean_over(pixels: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Means over axes of every image on its own, which stay as axes of length 1.

    Args:
        pixels: float32 [n, channels, height, width], 0…1 or little beyond.
        dim: Axes to take the mean over, not the first.
    """
    if pixels.device.type == "cpu":
        if len(pixels) == 1:
            # A sum to one number is shared among threads, which changes the order in which it is
            # added up; of several sums each is left to one thread.
            return torch.cat([pixels, pixels]).mean(dim, keepdim=True)[:1]
        return pixels.mean(dim, keepdim=True)
    # Elsewhere the order follows from the shape of the batch; with whole numbers it is no matter.
    whole = pixels.mul(_STEPS).round().to(torch.int64).sum(dim, keepdim=True)
    count = pixels.numel() // whole.numel()
    return whole.to(pixels.dtype) / (_STEPS * count)

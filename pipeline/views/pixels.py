"""Conversion between uint8 and float pixels, and reproducible means."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device

_STEPS = 2**24  # resolution of float32 in [0.5, 1]


def to_unit_range(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """uint8 [n, height, width, channels] to float32 [n, channels, height, width] in [0, 1].

    Channels are last in memory.
    """
    if isinstance(images, Tensor):
        images = images.to(device, non_blocking=True)  # a GPU copies from pinned memory meanwhile
    else:
        images = to_device(images, device)
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def to_uint8(pixels: Tensor) -> Tensor:
    """The inverse of ``to_unit_range``, rounded: uint8 [n, height, width, channels]."""
    rounded = pixels.mul(255).round().clamp(0, 255).to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous()


def image_means(pixels: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Per-image means over ``dim``, with ``keepdim``; bit-identical in any batch.

    Pixels are float32 [n, channels, height, width], in about [0, 1]; ``dim`` does not contain 0.
    """
    if pixels.device.type == "cpu":
        if len(pixels) == 1:
            # torch divides a single sum among threads, which changes the order of additions.
            return torch.cat([pixels, pixels]).mean(dim, keepdim=True)[:1]
        return pixels.mean(dim, keepdim=True)
    # On other devices the order depends on the batch's shape. Integer sums do not depend on it.
    sums = pixels.mul(_STEPS).round().to(torch.int64).sum(dim, keepdim=True)
    count = pixels.numel() // sums.numel()
    return sums.to(pixels.dtype) / (_STEPS * count)

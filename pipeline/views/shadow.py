"""Shadows with one soft edge."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device
from pipeline.views.rng import Column, half_strengths

_WIDEST_EDGE = 0.25  # of the image's side


def cast_shadow(pixels: Tensor, numbers: NDArray[np.float64], maximum: float) -> Tensor:
    """Darkens one side of a random line through every second image.

    Args:
        pixels: float32 [n, 3, size, size] in [0, 1].
        numbers: float64, indexed by ``Column``.
        maximum: Maximum fraction of the light that is missing in the shadow.
    """
    size = pixels.shape[-1]
    strengths = half_strengths(numbers, Column.SHADOW, maximum)
    angles = 2 * np.pi * numbers[:, Column.SHADOW_ANGLE]
    normal_x, normal_y = np.cos(angles), np.sin(angles)
    from_line = -normal_x * numbers[:, Column.SHADOW_X] - normal_y * numbers[:, Column.SHADOW_Y]
    # At least a pixel wide, which avoids a staircase.
    widths = 1 / size + _WIDEST_EDGE * numbers[:, Column.SHADOW_EDGE]

    def per_image(values: NDArray[np.float64]) -> Tensor:
        return to_device(values, pixels.device, pixels.dtype).view(-1, 1, 1, 1)

    centers = (torch.arange(size, device=pixels.device, dtype=pixels.dtype) + 0.5) / size
    across = per_image(normal_x / widths) * centers + per_image(from_line / widths)
    distance = across + per_image(normal_y / widths) * centers.view(-1, 1)
    return pixels * (1 - per_image(strengths) * (distance + 0.5).clamp(0, 1))

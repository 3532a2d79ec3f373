"""Shadows with one soft edge."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device
from pipeline.views.rng import Column, half_strengths

_WIDEST_EDGE = 0.25  # of the image's shorter side


def cast_shadow(pixels: Tensor, numbers: NDArray[np.float64], maximum: float) -> Tensor:
    """Darkens one side of a random line through every second image.

    Args:
        pixels: float32 [n, 3, height, width] in [0, 1].
        numbers: float64, indexed by ``Column``.
        maximum: Maximum fraction of the light that is missing in the shadow.
    """
    height, width = pixels.shape[-2:]
    side = min(height, width)
    strengths = half_strengths(numbers, Column.SHADOW, maximum)
    angles = 2 * np.pi * numbers[:, Column.SHADOW_ANGLE]
    normal_x, normal_y = np.cos(angles), np.sin(angles)
    # In units of the shorter side, from the top left corner.
    x = numbers[:, Column.SHADOW_X] * (width / side)
    y = numbers[:, Column.SHADOW_Y] * (height / side)
    from_line = -normal_x * x - normal_y * y
    # At least a pixel wide, which avoids a staircase.
    widths = 1 / side + _WIDEST_EDGE * numbers[:, Column.SHADOW_EDGE]

    def per_image(values: NDArray[np.float64]) -> Tensor:
        return to_device(values, pixels.device, pixels.dtype).view(-1, 1, 1, 1)

    columns, rows = (
        (torch.arange(count, device=pixels.device, dtype=pixels.dtype) + 0.5) / side
        for count in (width, height)
    )
    across = per_image(normal_x / widths) * columns + per_image(from_line / widths)
    distance = across + per_image(normal_y / widths) * rows.view(-1, 1)
    return pixels * (1 - per_image(strengths) * (distance + 0.5).clamp(0, 1))

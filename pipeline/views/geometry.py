"""Where a view's pixels come from."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params import Views
from pipeline.views.rng import Draw


def warp(pixels: Tensor, draws: Tensor, recipe: Views) -> Tensor:
    """Crop, flips and quarter turns as one resampling, so that pixels are blurred only once.

    Args:
        pixels: float32 [n, 3, size, size].
        draws: float32 [n, at least 16], by ``Draw``.
        recipe: What a view is.
    """
    area = recipe.crop_scale + (1 - recipe.crop_scale) * draws[:, Draw.CROP_AREA]
    stretch = 2 * draws[:, Draw.CROP_RATIO] - 1
    ratio = torch.exp(stretch * float(np.log(recipe.crop_ratio)))
    # No longer than fits: a crop of the whole area is square.
    ratio = torch.clamp(ratio, area, 1 / area)
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    # Grid coordinates run from -1 to 1, so a crop of this width can move by 1 - width.
    centre_x = (1 - width) * (2 * draws[:, Draw.CROP_X] - 1)
    centre_y = (1 - height) * (2 * draws[:, Draw.CROP_Y] - 1)
    flip_x = 1 - 2 * (draws[:, Draw.FLIP_X] < 0.5).to(pixels.dtype) * recipe.horizontal_flip
    flip_y = 1 - 2 * (draws[:, Draw.FLIP_Y] < 0.5).to(pixels.dtype) * recipe.vertical_flip
    quarter = torch.floor(4 * draws[:, Draw.TURN]) * recipe.quarter_turns
    # Rounded, because sin and cos of a quarter turn are exactly -1, 0 or 1.
    cosine = torch.cos(quarter * (torch.pi / 2)).round()
    sine = torch.sin(quarter * (torch.pi / 2)).round()
    theta = torch.stack(
        [
            torch.stack([width * flip_x * cosine, -width * flip_x * sine, centre_x], dim=1),
            torch.stack([height * flip_y * sine, height * flip_y * cosine, centre_y], dim=1),
        ],
        dim=1,
    )
    return resample(pixels, theta, "reflection")


def resample(pixels: Tensor, theta: Tensor, beyond: Literal["reflection", "zeros"]) -> Tensor:
    """Takes each pixel from elsewhere in its image, bilinearly.

    Args:
        pixels: float32 [n, 3, size, size].
        theta: float32 [n, 2, 3], from a pixel's place in the result (x, y, 1) to the place (x, y)
            it is taken from; an image runs from -1 to 1.
        beyond: What lies outside of an image: its mirror image, or black.
    """
    size = pixels.shape[-1]
    places = torch.linspace(-1, 1, size, device=pixels.device) * (size - 1) / size
    across, down, fixed = theta[:, None, None].unbind(-1)  # each [n, 1, 1, 2]
    # Not by affine_grid: how a matrix product adds up is the library's choice, batch by batch.
    grid = (places.view(1, 1, -1, 1) * across + fixed) + places.view(1, -1, 1, 1) * down
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=beyond, align_corners=False)

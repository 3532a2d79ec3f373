"""Random crops, flips, rotations by multiples of 90 degrees, and erasing.

Pixels are float32 [n, 3, height, width]. Random numbers are float32 [n, at least 16], indexed by
``Column``.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views
from pipeline.views.pixels import image_means
from pipeline.views.rng import Column


def random_crops(numbers: Tensor, recipe: Views) -> Tensor:
    """Crops, flips and quarter turns as one affine transform per image, as in ``affine``."""
    area = recipe.crop_scale + (1 - recipe.crop_scale) * numbers[:, Column.CROP_AREA]
    log_ratio = (2 * numbers[:, Column.CROP_RATIO] - 1) * float(np.log(recipe.crop_ratio))
    # Limited so that the crop fits into the image.
    ratio = torch.clamp(torch.exp(log_ratio), area, 1 / area)
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    # In grid coordinates from -1 to 1, the center can move by 1 - width.
    center_x = (1 - width) * (2 * numbers[:, Column.CROP_X] - 1)
    center_y = (1 - height) * (2 * numbers[:, Column.CROP_Y] - 1)
    flip_x = 1 - 2 * (numbers[:, Column.FLIP_X] < 0.5).to(numbers.dtype) * recipe.horizontal_flip
    flip_y = 1 - 2 * (numbers[:, Column.FLIP_Y] < 0.5).to(numbers.dtype) * recipe.vertical_flip
    turns = torch.floor(4 * numbers[:, Column.TURN]) * recipe.quarter_turns
    # Rounded to exactly -1, 0 or 1.
    cos = torch.cos(turns * (torch.pi / 2)).round()
    sin = torch.sin(turns * (torch.pi / 2)).round()
    first_row = width * flip_x * cos, -width * flip_x * sin, center_x
    second_row = height * flip_y * sin, height * flip_y * cos, center_y
    return torch.stack([*first_row, *second_row], dim=1).view(-1, 2, 3)


def crop_areas(numbers: NDArray[np.float64], recipe: Views) -> NDArray[np.float64]:
    """Areas of the crops of ``random_crops`` as fractions of the image, float64 [n]."""
    areas: NDArray[np.float64] = (
        recipe.crop_scale + (1 - recipe.crop_scale) * numbers[:, Column.CROP_AREA]
    )
    return areas


def affine(
    pixels: Tensor,
    theta: Tensor,
    padding: Literal["reflection", "zeros"],
    shape: tuple[int, ...] | None = None,
) -> Tensor:
    """Applies an affine transform to every image, with bilinear interpolation.

    ``theta``, float32 [n, 2, 3], maps output (x, y, 1) to input (x, y), both from -1 to 1.
    ``shape`` is the height and width of the output in pixels; None is that of the input.
    """
    steps_x, steps_y = _steps(shape or pixels.shape[-2:], pixels.device)
    x, y, offset = theta[:, None, None].unbind(-1)  # each [n, 1, 1, 2]
    # Not F.affine_grid: the order of additions of its matrix product depends on the batch.
    grid = (steps_x.view(1, 1, -1, 1) * x + offset) + steps_y.view(1, -1, 1, 1) * y
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def warp(pixels: Tensor, theta: Tensor, warps: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Applies first ``theta`` [n, 2, 3] and then ``warps`` [n, 3, 3], as ``affine`` does.

    ``warps`` are homographies from the view to its crop, float32.
    """
    steps_x, steps_y = _steps(shape, pixels.device)
    # Not matrix products, whose order of additions depends on the batch.
    x, y, z = (
        (row[:, 0] * steps_x + row[:, 2]) + row[:, 1] * steps_y.view(-1, 1)
        for row in warps[..., None, None].unbind(1)
    )
    grid = torch.stack([x / z, y / z], dim=-1)
    across, down, offset = theta[:, None, None].unbind(-1)
    grid = (grid[..., :1] * across + offset) + grid[..., 1:] * down
    return F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _steps(shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Coordinates of the centers of the columns and of the rows, from -1 to 1."""
    height, width = shape
    x, y = (
        torch.linspace(-1, 1, count, device=device) * (count - 1) / count
        for count in (width, height)
    )
    return x, y


def random_erase(pixels: Tensor, numbers: Tensor, probability: float) -> Tensor:
    """Fills a rectangle of 2 to 20 % of the area with the image's mean color."""
    height, width = pixels.shape[-2:]
    side = (0.02 + 0.18 * numbers[:, Column.ERASE_AREA]).sqrt() * math.sqrt(height * width)
    stretch = torch.exp((2 * numbers[:, Column.ERASE_RATIO] - 1) * float(np.log(2)))
    half_width, half_height = side * stretch / 2, side / stretch / 2
    x, y = (
        torch.arange(count, device=pixels.device, dtype=pixels.dtype) + 0.5
        for count in (width, height)
    )
    columns = (x - width * numbers[:, Column.ERASE_X, None]).abs() < half_width[:, None]
    rows = (y - height * numbers[:, Column.ERASE_Y, None]).abs() < half_height[:, None]
    selected = numbers[:, Column.ERASE] < probability
    erased = selected[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return torch.where(erased[:, None], image_means(pixels, (2, 3)), pixels)

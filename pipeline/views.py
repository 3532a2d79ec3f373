"""A view is a pure function of (image, view seed).

The random numbers of a view come from a counter-based generator keyed by (recipe seed, view,
image), so they do not depend on the batch, on the order or on the number of workers. The pixels
are made for a whole batch at once on the training device.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views

_DRAWS = 16  # random numbers reserved per view; more than are used, so that a recipe can grow


def to_unit_range(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [n, height, width, 3] to float32 [n, 3, height, width] in 0…1, channels last."""
    tensor = torch.from_numpy(np.array(images)).to(device)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def to_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """The inverse of ``to_unit_range``, rounded: uint8 [n, height, width, 3]."""
    rounded = pixels.mul(255).round().clamp(0, 255).to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def make_views(
    images: NDArray[np.uint8],
    image_ids: NDArray[np.int64],
    view: int,
    recipe: Views,
    device: torch.device,
) -> Tensor:
    """Makes the view numbered ``view`` of every image.

    Args:
        images: uint8 [n, size, size, 3], RGB.
        image_ids: int64 [n], each image's place in its split.
        view: Number of the view, 0 … K - 1; beyond K the views go on being new.
        recipe: What a view is.
        device: Where the pixels are made.

    Returns:
        float32 [n, 3, size, size] in 0…1, channels last.
    """
    draws = torch.from_numpy(_draw(image_ids, view, recipe.seed)).to(device, torch.float32)
    pixels = to_unit_range(images, device)
    pixels = _warp(pixels, draws, recipe)
    pixels = _recolour(pixels, draws, recipe)
    if recipe.erase:
        pixels = _erase(pixels, draws, recipe.erase)
    return pixels.contiguous(memory_format=torch.channels_last)


def _draw(image_ids: NDArray[np.int64], view: int, seed: int) -> NDArray[np.float64]:
    """Uniform numbers in 0…1, float64 [n, _DRAWS], one row per (seed, view, image)."""
    rows = np.empty((len(image_ids), _DRAWS))
    for row, image_id in zip(rows, image_ids, strict=True):
        key = np.array([(seed << 32) + view, image_id], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).random(out=row)
    return rows


def _warp(pixels: Tensor, draws: Tensor, recipe: Views) -> Tensor:
    """Crop, flips and quarter turns as one resampling, so that pixels are blurred only once."""
    area = recipe.crop_scale + (1 - recipe.crop_scale) * draws[:, 0]
    ratio = torch.exp((2 * draws[:, 1] - 1) * float(np.log(recipe.crop_ratio)))
    # No longer than fits: a crop of the whole area is square.
    ratio = torch.clamp(ratio, area, 1 / area)
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    # Grid coordinates run from -1 to 1, so a crop of this width can move by 1 - width.
    centre_x = (1 - width) * (2 * draws[:, 2] - 1)
    centre_y = (1 - height) * (2 * draws[:, 3] - 1)
    flip_x = 1 - 2 * (draws[:, 4] < 0.5).to(pixels.dtype) * recipe.horizontal_flip
    flip_y = 1 - 2 * (draws[:, 5] < 0.5).to(pixels.dtype) * recipe.vertical_flip
    quarter = torch.floor(4 * draws[:, 6]) * recipe.quarter_turns
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
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _recolour(pixels: Tensor, draws: Tensor, recipe: Views) -> Tensor:
    def factor(column: int, strength: float) -> Tensor:
        return (1 + strength * (2 * draws[:, column] - 1)).view(-1, 1, 1, 1)

    if recipe.saturation:
        grey = pixels.mean(dim=1, keepdim=True)
        pixels = grey + (pixels - grey) * factor(9, recipe.saturation)
    if recipe.contrast:
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        pixels = mean + (pixels - mean) * factor(8, recipe.contrast)
    if recipe.brightness:
        pixels = pixels * factor(7, recipe.brightness)
    return pixels.clamp(0, 1)


def _erase(pixels: Tensor, draws: Tensor, share: float) -> Tensor:
    """Fills one rectangle, 2 to 20 % of the area, with the image's mean colour."""
    size = pixels.shape[-1]
    side = (0.02 + 0.18 * draws[:, 11]).sqrt() * size
    stretch = torch.exp((2 * draws[:, 12] - 1) * float(np.log(2)))
    half_width, half_height = side * stretch / 2, side / stretch / 2
    steps = torch.arange(size, device=pixels.device, dtype=pixels.dtype) + 0.5
    columns = (steps - size * draws[:, 13:14]).abs() < half_width[:, None]
    rows = (steps - size * draws[:, 14:15]).abs() < half_height[:, None]
    hit = (draws[:, 10] < share)[:, None, None] & rows[:, :, None] & columns[:, None, :]
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return torch.where(hit[:, None], mean, pixels)

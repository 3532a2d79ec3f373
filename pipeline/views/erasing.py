"""Random erasing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline.views.means import mean_over
from pipeline.views.rng import Draw


def erase(pixels: Tensor, draws: Tensor, share: float) -> Tensor:
    """Fills one rectangle, 2 to 20 % of the area, with the image's mean colour.

    Args:
        pixels: float32 [n, 3, size, size].
        draws: float32 [n, at least 16], by ``Draw``.
        share: Of the images that have a rectangle erased.
    """
    size = pixels.shape[-1]
    side = (0.02 + 0.18 * draws[:, Draw.ERASE_AREA]).sqrt() * size
    stretch = torch.exp((2 * draws[:, Draw.ERASE_RATIO] - 1) * float(np.log(2)))
    half_width, half_height = side * stretch / 2, side / stretch / 2
    steps = torch.arange(size, device=pixels.device, dtype=pixels.dtype) + 0.5
    columns = (steps - size * draws[:, Draw.ERASE_X, None]).abs() < half_width[:, None]
    rows = (steps - size * draws[:, Draw.ERASE_Y, None]).abs() < half_height[:, None]
    drawn = draws[:, Draw.ERASE] < share
    hit = drawn[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return torch.where(hit[:, None], mean_over(pixels, (2, 3)), pixels)

"""A view is a pure function of (image, view seed).

The random numbers of a view come from a counter-based generator keyed by (recipe seed, view,
image), so they do not depend on the batch, on the order or on the number of workers. The pixels
are made for a whole batch at once on the training device, by operations whose result for an image
does not depend on the others.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views
from pipeline.views.auto_augment import auto_augment
from pipeline.views.colour import recolour
from pipeline.views.erasing import erase
from pipeline.views.geometry import warp
from pipeline.views.pixels import to_bytes, to_unit_range
from pipeline.views.rng import count_draws, draw

__all__ = ["make_views", "to_bytes", "to_unit_range"]


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
    numbers = draw(image_ids, view, recipe.seed, count_draws(recipe))
    draws = torch.from_numpy(numbers).to(device, torch.float32)
    pixels = to_unit_range(images, device)
    pixels = warp(pixels, draws, recipe)
    pixels = recolour(pixels, draws, recipe)
    if recipe.auto != "none":
        pixels = auto_augment(pixels, numbers, recipe)
    if recipe.erase:
        pixels = erase(pixels, draws, recipe.erase)
    return pixels.contiguous(memory_format=torch.channels_last)

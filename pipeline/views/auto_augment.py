"""TrivialAugment and RandAugment: operations drawn from a list, with little or nothing to tune."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views
from pipeline.views.operations import OPERATIONS, Reach, apply
from pipeline.views.rng import DRAWS_PER_OPERATION, Draw, count_operations

_BINS = 31  # magnitudes 0 … 30


@dataclass(frozen=True)
class _Choice:
    """What one image goes through: an operation, its magnitude 0 … 30, and its sign."""

    operation: str
    magnitude: int
    sign: int


def auto_augment(pixels: Tensor, numbers: NDArray[np.float64], recipe: Views) -> Tensor:
    """Puts every image through the operations that are drawn for it.

    ``trivial`` is TrivialAugment (Wide) of arXiv 2103.10158: one operation of a random magnitude.
    ``rand`` is RandAugment of arXiv 1909.13719: ``auto_ops`` operations one after the other, all
    of ``auto_magnitude``. Operations and their reach are those of torchvision's classes of these
    names, with bilinear resampling and black beyond the image.

    Args:
        pixels: float32 [n, 3, size, size] in 0…1.
        numbers: float64 [n, at least ``count_draws(recipe)``], by ``Draw``.
        recipe: With ``auto`` other than ``none``.

    Returns:
        float32 [n, 3, size, size] in 0…1.
    """
    size = pixels.shape[-1]
    if recipe.auto == "trivial":
        reach = Reach(shear=0.99, shift=32.0, degrees=135.0, change=0.99, bits=6)
    else:
        reach = Reach(shear=0.3, shift=150 / 331 * size, degrees=30.0, change=0.9, bits=4)
    for nth in range(count_operations(recipe)):
        first = Draw.AUTO + DRAWS_PER_OPERATION * nth
        drawn = numbers[:, first : first + DRAWS_PER_OPERATION]
        choices = [_choose(row, recipe) for row in drawn]
        pixels = _apply_choices(pixels, choices, reach)
    return pixels


def _choose(row: NDArray[np.float64], recipe: Views) -> _Choice:
    which, strong, sign = row.tolist()
    return _Choice(
        OPERATIONS[int(len(OPERATIONS) * which)],
        int(_BINS * strong) if recipe.auto == "trivial" else recipe.auto_magnitude,
        -1 if sign < 0.5 else 1,
    )


def _apply_choices(pixels: Tensor, choices: list[_Choice], reach: Reach) -> Tensor:
    """Runs each operation once, on all images that drew it."""
    pixels = pixels.clone()
    for operation in OPERATIONS:
        places = [n for n, choice in enumerate(choices) if choice.operation == operation]
        if places:
            strengths = [choices[n].sign * choices[n].magnitude / (_BINS - 1) for n in places]
            pixels[places] = apply(operation, pixels[places], strengths, reach)
    return pixels

"""TrivialAugment and RandAugment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views
from pipeline.views.operations import OPERATIONS, MaxStrength
from pipeline.views.rng import NUMBERS_PER_OPERATION, Column, count_operations

_BINS = 31  # magnitudes 0 ... 30


def auto_augment(pixels: Tensor, numbers: NDArray[np.float64], recipe: Views) -> Tensor:
    """Applies random operations to every image.

    ``trivial`` is TrivialAugment (Wide), arXiv 2103.10158: one operation of random magnitude.
    ``rand`` is RandAugment, arXiv 1909.13719: ``auto_ops`` operations of ``auto_magnitude``. The
    operations and their ranges are torchvision's, with bilinear interpolation and black padding.

    Args:
        pixels: float32 [n, 3, size, size] in [0, 1].
        numbers: Random numbers float64 [n, at least ``count_numbers(recipe)``], by ``Column``.
        recipe: With ``auto`` other than ``none``.

    Returns:
        float32 [n, 3, size, size] in [0, 1].
    """
    size = pixels.shape[-1]
    if recipe.auto == "trivial":
        limits = MaxStrength(shear=0.99, shift=32.0, degrees=135.0, factor=0.99, bits=6)
    else:
        limits = MaxStrength(shear=0.3, shift=150 / 331 * size, degrees=30.0, factor=0.9, bits=4)
    for number in range(count_operations(recipe)):
        first = Column.AUTO + NUMBERS_PER_OPERATION * number
        operation, magnitude, sign = numbers[:, first : first + NUMBERS_PER_OPERATION].T
        operations = (len(OPERATIONS) * operation).astype(int)
        magnitudes = (
            (_BINS * magnitude).astype(int) if recipe.auto == "trivial" else recipe.auto_magnitude
        )
        strengths = np.where(sign < 0.5, -1, 1) * magnitudes / (_BINS - 1)
        pixels = pixels.clone()
        for index, apply in enumerate(OPERATIONS.values()):
            selected = np.flatnonzero(operations == index).tolist()
            if selected:
                pixels[selected] = apply(pixels[selected], strengths[selected].tolist(), limits)
    return pixels

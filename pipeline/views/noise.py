"""Sensor noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device
from pipeline.views.rng import Column, half_strengths, normal_numbers


def add_noise(
    pixels: Tensor,
    numbers: NDArray[np.float64],
    image_ids: NDArray[np.int64],
    view: int,
    seed: int,
    maximum: float,
) -> Tensor:
    """Adds Gaussian noise to every second image.

    Its standard deviation is the same for dark and light pixels. The noise of photons grows with
    the square root of the light, and the gamma of sRGB images makes up for it.

    Args:
        pixels: float32 [n, 3, height, width] in [0, 1].
        numbers: float64, indexed by ``Column``.
        image_ids: int64 [n], indices of the images in their split.
        view: View number.
        seed: Seed of all views.
        maximum: Maximum standard deviation.
    """
    deviations = half_strengths(numbers, Column.NOISE, maximum)
    selected = np.flatnonzero(deviations)
    if not len(selected):
        return pixels
    noise = normal_numbers(image_ids[selected], view, seed, pixels.shape[1:])
    noise *= deviations[selected, None, None, None].astype(np.float32)
    pixels = pixels.clone()
    pixels[to_device(selected, pixels.device)] += to_device(noise, pixels.device)
    return pixels.clamp_(0, 1)

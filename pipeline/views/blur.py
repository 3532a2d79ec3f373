"""Defocus and motion blur, with a kernel of its own for every image."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device
from pipeline.views.rng import Column, half_strengths


def defocus(pixels: Tensor, numbers: NDArray[np.float64], maximum: float) -> Tensor:
    """Blurs every second image with a disc, the image of a point that is out of focus.

    Args:
        pixels: float32 [n, 3, height, width] in [0, 1].
        numbers: float64, indexed by ``Column``.
        maximum: Maximum radius as a fraction of the shorter side.
    """
    side = min(pixels.shape[-2:])
    radii = side * half_strengths(numbers, Column.DEFOCUS, maximum)
    return _filter_where(radii > 0, pixels, discs(radii, math.ceil(side * maximum)))


def blur_motion(pixels: Tensor, numbers: NDArray[np.float64], maximum: float) -> Tensor:
    """Blurs every second image along a random direction.

    Args:
        pixels: float32 [n, 3, height, width] in [0, 1].
        numbers: float64, indexed by ``Column``.
        maximum: Maximum length as a fraction of the shorter side.
    """
    side = min(pixels.shape[-2:])
    lengths = side * half_strengths(numbers, Column.MOTION, maximum)
    angles = np.pi * numbers[:, Column.MOTION_ANGLE]
    reach = math.ceil(side * maximum / 2)
    return _filter_where(lengths > 0, pixels, segments(lengths, angles, reach))


def discs(radii: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Discs with an edge one pixel wide, float64 [n, 2 reach + 1, 2 reach + 1], of sum 1.

    ``radii`` are float64 [n], in pixels, at most ``reach``. A radius up to 0.5 blurs nothing.
    """
    places = np.arange(-reach, reach + 1)
    distances = np.hypot(places, places[:, None])
    kernels: NDArray[np.float64] = np.clip(radii[:, None, None] + 0.5 - distances, 0, 1)
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    return kernels


def segments(
    lengths: NDArray[np.float64], angles: NDArray[np.float64], reach: int
) -> NDArray[np.float64]:
    """Line segments about the center, float64 [n, 2 reach + 1, 2 reach + 1], of sum 1.

    ``lengths`` are float64 [n], in pixels, at most ``2 * reach``; ``angles`` in radians.
    """
    # Points half a pixel apart or closer, each shared among the four pixels around it.
    along = np.linspace(-0.5, 0.5, 4 * reach + 1) * lengths[:, None]
    places = np.arange(-reach, reach + 1)
    x, y = (
        np.maximum(1 - np.abs((along * direction[:, None])[..., None] - places), 0)
        for direction in (np.cos(angles), np.sin(angles))
    )
    kernels: NDArray[np.float64] = (y[..., :, None] * x[..., None, :]).mean(axis=1)
    return kernels


def filter_each(pixels: Tensor, kernels: NDArray[np.float64]) -> Tensor:
    """Filters every image, float32 [n, 3, height, width], with its own kernel [n, k, k], k odd.

    The border is replicated. Not a convolution, whose algorithm can depend on the batch size.
    """
    reach, (height, width) = kernels.shape[-1] // 2, pixels.shape[-2:]
    padded = F.pad(pixels, [reach] * 4, mode="replicate")
    weights = to_device(kernels, pixels.device, pixels.dtype)
    result = torch.zeros_like(pixels)
    for row, column in np.argwhere(kernels.any(axis=0)).tolist():
        shifted = padded[..., row : row + height, column : column + width]
        result += shifted * weights[:, row, column].view(-1, 1, 1, 1)
    return result.clamp_(0, 1)


def _filter_where(where: NDArray[np.bool_], pixels: Tensor, kernels: NDArray[np.float64]) -> Tensor:
    selected = np.flatnonzero(where)
    if not len(selected):
        return pixels
    rows = to_device(selected, pixels.device)
    pixels = pixels.clone()
    pixels[rows] = filter_each(pixels[rows], kernels[selected])
    return pixels

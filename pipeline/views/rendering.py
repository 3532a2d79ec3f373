"""Rendering of crops at any size up to that of the packed images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.transfers import to_device
from pipeline.views.geometry import affine, warp
from pipeline.views.pixels import to_unit_range

_STEP = 2**0.5
"""Pixels between the samples of a view, so that it is as sharp as an image scaled on a device.

There the filter is a triangle of half-width 1 in pixels of the result. Here, a triangle of
half-width 1 / step shrinks the image and another one interpolates it; their variances add up.
"""


def render(
    images: NDArray[np.uint8] | Tensor,
    areas: NDArray[np.float64],
    theta: Tensor,
    warps: Tensor | None,
    shape: tuple[int, ...],
) -> Tensor:
    """Renders a crop of every image, float32 [n, 3, height, width] in [0, 1].

    The result is on the device of theta.

    An image whose crop has many more pixels than the result is shrunk first, with an antialiasing
    filter and to one of a few sizes (a mipmap).

    Args:
        images: uint8 [n, height, width, 3], RGB. A tensor on a GPU cannot be shrunk.
        areas: Areas of the crops as fractions of the image, float64 [n].
        theta: The crops, as in ``affine``.
        warps: Changes of perspective, as in ``warp``; None for none.
        shape: Height and width of the result in pixels. Both are about the same fraction of those
            of the images.
    """

    def sample(pixels: Tensor, rows: slice | Tensor) -> Tensor:
        if warps is not None:
            return warp(pixels, theta[rows], warps[rows], shape)
        return affine(pixels, theta[rows], "reflection", shape)

    packed = images.shape[1:3]
    # A batch takes the same path as each of its images, so that their bits are the same.
    if not shrinks(packed[0], shape[0]):
        return sample(to_unit_range(images, theta.device), slice(None))
    if isinstance(images, Tensor):
        images = images.numpy()
    levels = _levels(areas, packed[0] / shape[0])
    result = torch.empty(len(images), 3, *shape, device=theta.device)
    for level in np.unique(levels).tolist():
        chosen = np.flatnonzero(levels == level)
        rows = to_device(chosen, theta.device)
        shrunk = _shrink(images[chosen], [round(side / 2 ** (level / 2)) for side in packed])
        result[rows] = sample(to_unit_range(shrunk, theta.device), rows)
    return result


def shrinks(packed: int, height: int) -> bool:
    """Whether the CPU shrinks images of the height ``packed`` for views of ``height`` pixels."""
    return bool(_levels(np.ones(1), packed / height).any())


def _levels(areas: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """How often to divide the side of an image by the square root of 2, int64 [n]."""
    steps = scale * np.sqrt(areas)
    return np.maximum(np.round(2 * np.log2(steps / _STEP)), 0).astype(np.int64)


def _shrink(images: NDArray[np.uint8], shape: list[int]) -> NDArray[np.uint8]:
    """Antialiased bilinear scaling of uint8 [n, height, width, 3], in integers on the CPU."""
    if shape == list(images.shape[1:3]):
        return images
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    shrunk = F.interpolate(pixels, shape, mode="bilinear", antialias=True)
    return shrunk.permute(0, 2, 3, 1).numpy()

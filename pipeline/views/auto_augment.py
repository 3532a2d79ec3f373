"""TrivialAugment and RandAugment, with separate operations and strengths for every image.

Operations without a strength are torchvision's. Its other operations take one strength for the
whole batch, so they are implemented here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pipeline.params import Views
from pipeline.transfers import to_device
from pipeline.views.geometry import affine
from pipeline.views.pixels import image_means
from pipeline.views.rng import NUMBERS_PER_OPERATION, Column, count_operations

_BINS = 31  # magnitudes 0 ... 30


@dataclass(frozen=True)
class MaxStrength:
    """The effect of strength 1.

    Attributes:
        shear: Shift in pixels from one row or column to the next.
        shift: Translation along y and along x in pixels.
        degrees: Rotation.
        factor: Relative change of brightness, color, contrast and sharpness.
        bits: Number of the 8 bits that posterize removes.
    """

    shear: float
    shift: tuple[float, float]
    degrees: float
    factor: float
    bits: int


Operation = Callable[[Tensor, Sequence[float], MaxStrength], Tensor]
"""Maps images, float32 [n, 3, height, width] in [0, 1], with a strength in [-1, 1] per image."""


def _like(pixels: Tensor, values: Sequence[float | tuple[float, ...]]) -> Tensor:
    """Values as a tensor with the dtype and device of the pixels."""
    return to_device(np.array(values), pixels.device, pixels.dtype)


def _transform(
    matrix: Callable[[float, MaxStrength, tuple[int, ...]], tuple[float, ...]],
) -> Operation:
    """Affine transform; ``matrix`` returns the six elements of theta.

    Its arguments are the strength, the limits, and height and width of the images.
    """

    def apply(pixels: Tensor, strengths: Sequence[float], limits: MaxStrength) -> Tensor:
        theta = [matrix(strength, limits, pixels.shape[-2:]) for strength in strengths]
        return affine(pixels, _like(pixels, theta).view(-1, 2, 3), "zeros")

    return apply


def _rotation(strength: float, limits: MaxStrength, shape: tuple[int, ...]) -> tuple[float, ...]:
    angle, ratio = math.radians(strength * limits.degrees), shape[1] / shape[0]
    cos, sin = math.cos(angle), math.sin(angle)
    return cos, -sin / ratio, 0, sin * ratio, cos, 0


def _shear(axis: int) -> Operation:
    """Shear along y (axis 0) or x (1); the first row or column, at coordinate -1, stays."""

    def matrix(strength: float, limits: MaxStrength, shape: tuple[int, ...]) -> tuple[float, ...]:
        slope = strength * limits.shear * (shape[1 - axis] / shape[axis])
        return (1, slope, slope, 0, 1, 0) if axis else (1, 0, 0, slope, 1, slope)

    return _transform(matrix)


def _shift(axis: int) -> Operation:
    """Shift along y (axis 0) or x (1) by whole pixels, without interpolation."""

    def matrix(strength: float, limits: MaxStrength, shape: tuple[int, ...]) -> tuple[float, ...]:
        # 2 is the height or width of the image.
        offset = -2 * int(strength * limits.shift[axis]) / shape[axis]
        return (1, 0, offset, 0, 1, 0) if axis else (1, 0, 0, 0, 1, offset)

    return _transform(matrix)


def _blend(degenerate: Callable[[Tensor], Tensor]) -> Operation:
    """Interpolates between ``degenerate(pixels)`` at factor 0 and the image at factor 1."""

    def apply(pixels: Tensor, strengths: Sequence[float], limits: MaxStrength) -> Tensor:
        factors = _like(pixels, [1 + strength * limits.factor for strength in strengths])
        base = degenerate(pixels)
        return (pixels - base).mul_(factors.view(-1, 1, 1, 1)).add_(base).clamp_(0, 1)

    return apply


def _blurred(pixels: Tensor) -> Tensor:
    """A 3 x 3 filter with weight 5 in the center and 1 around it; the border is unchanged.

    Not a convolution, whose algorithm can depend on the batch size.
    """
    columns = pixels[..., :-2] + pixels[..., 1:-1] + pixels[..., 2:]
    around = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    blurred = pixels.clone()
    blurred[..., 1:-1, 1:-1] = (around + 4 * pixels[..., 1:-1, 1:-1]) / 13
    return blurred


def _posterize(pixels: Tensor, strengths: Sequence[float], limits: MaxStrength) -> Tensor:
    bits = [8 - round(abs(strength) * limits.bits) for strength in strengths]
    levels = _like(pixels, [2**kept for kept in bits]).view(-1, 1, 1, 1)
    return torch.minimum(pixels.mul(levels).floor_(), levels - 1).div_(levels)


def _solarize(pixels: Tensor, strengths: Sequence[float], limits: MaxStrength) -> Tensor:
    thresholds = _like(pixels, [1 - abs(strength) for strength in strengths])
    return torch.where(pixels >= thresholds.view(-1, 1, 1, 1), 1 - pixels, pixels)


_OPERATIONS: dict[str, Operation] = {
    "identity": lambda pixels, *_: pixels,
    "shear_x": _shear(1),
    "shear_y": _shear(0),
    "shift_x": _shift(1),
    "shift_y": _shift(0),
    "rotate": _transform(_rotation),
    "brightness": _blend(torch.zeros_like),
    "color": _blend(F.rgb_to_grayscale),
    "contrast": _blend(lambda pixels: image_means(F.rgb_to_grayscale(pixels), (1, 2, 3))),
    "sharpness": _blend(_blurred),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda pixels, *_: F.autocontrast(pixels),
    "equalize": lambda pixels, *_: F.equalize(pixels),
}


def auto_augment(
    pixels: Tensor, numbers: NDArray[np.float64], recipe: Views, packed: tuple[int, ...]
) -> Tensor:
    """Applies random operations to every image.

    ``trivial`` is TrivialAugment (Wide), arXiv 2103.10158: one operation of random magnitude.
    ``rand`` is RandAugment, arXiv 1909.13719: ``auto_ops`` operations of ``auto_magnitude``. The
    operations and their ranges are torchvision's, with bilinear interpolation and black padding.
    Pixels are float32 [n, 3, height, width] in [0, 1]; ``numbers`` are indexed by ``Column``.
    TrivialAugment's shift of at most 32 pixels is in pixels of the packed images, so that views
    of one number look alike at all sizes; ``packed`` are height and width of these.
    """
    height, width = pixels.shape[-2:]
    if recipe.auto == "trivial":
        shift = 32 * height / packed[0], 32 * width / packed[1]
        limits = MaxStrength(shear=0.99, shift=shift, degrees=135.0, factor=0.99, bits=6)
    else:
        shift = 150 / 331 * height, 150 / 331 * width
        limits = MaxStrength(shear=0.3, shift=shift, degrees=30.0, factor=0.9, bits=4)
    for number in range(count_operations(recipe)):
        first = Column.AUTO + NUMBERS_PER_OPERATION * number
        operation, magnitude, sign = numbers[:, first : first + NUMBERS_PER_OPERATION].T
        operations = (len(_OPERATIONS) * operation).astype(int)
        trivial = recipe.auto == "trivial"
        magnitudes = (_BINS * magnitude).astype(int) if trivial else recipe.auto_magnitude
        strengths = np.where(sign < 0.5, -1, 1) * magnitudes / (_BINS - 1)
        pixels = pixels.clone()
        for index, apply in enumerate(_OPERATIONS.values()):
            selected = np.flatnonzero(operations == index)
            if len(selected):
                rows = to_device(selected, pixels.device)
                pixels[rows] = apply(pixels[rows], strengths[selected].tolist(), limits)
    return pixels

"""The operations of TrivialAugment and RandAugment, each image with a strength of its own.

Where torchvision's function does the same to all images of a batch whatever their content, it is
used; where it takes one strength for all, only for what does not hang on the strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pipeline.views.geometry import resample
from pipeline.views.means import mean_over


@dataclass(frozen=True)
class Reach:
    """What strength 1 means.

    Attributes:
        shear: Pixels that a row moves beside the next one.
        shift: Pixels.
        degrees: Of rotation.
        change: Relative change of brightness, colour, contrast and sharpness.
        bits: Of 8 that are dropped.
    """

    shear: float
    shift: float
    degrees: float
    change: float
    bits: int


def apply(operation: str, pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    """Runs one operation.

    Args:
        operation: One of ``OPERATIONS``.
        pixels: float32 [n, 3, size, size] in 0…1.
        strengths: Of each image, -1…1; an operation that has but one direction ignores the sign.
        reach: What strength 1 means.

    Returns:
        float32 [n, 3, size, size] in 0…1.
    """
    return _OPERATIONS[operation](pixels, strengths, reach)


def _identity(pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    return pixels


_Rows = tuple[tuple[float, float, float], tuple[float, float, float]]


def _move(
    rows: Callable[[float, Reach, int], _Rows],
    pixels: Tensor,
    strengths: Sequence[float],
    reach: Reach,
) -> Tensor:
    size = pixels.shape[-1]
    theta = torch.tensor([rows(strength, reach, size) for strength in strengths])
    return resample(pixels, theta.to(pixels), "zeros")


def _shear_x(strength: float, reach: Reach, size: int) -> _Rows:
    shear = strength * reach.shear  # the first row, at -1, stays
    return (1, shear, shear), (0, 1, 0)


def _shear_y(strength: float, reach: Reach, size: int) -> _Rows:
    shear = strength * reach.shear
    return (1, 0, 0), (shear, 1, shear)


def _shift_x(strength: float, reach: Reach, size: int) -> _Rows:
    # By whole pixels, which blurs nothing; an image is 2 wide.
    return (1, 0, -2 * int(strength * reach.shift) / size), (0, 1, 0)


def _shift_y(strength: float, reach: Reach, size: int) -> _Rows:
    return (1, 0, 0), (0, 1, -2 * int(strength * reach.shift) / size)


def _rotate(strength: float, reach: Reach, size: int) -> _Rows:
    angle = math.radians(strength * reach.degrees)
    return (math.cos(angle), -math.sin(angle), 0), (math.sin(angle), math.cos(angle), 0)


def _blend(
    without: Callable[[Tensor], Tensor], pixels: Tensor, strengths: Sequence[float], reach: Reach
) -> Tensor:
    """More or less of what ``without`` takes away from an image."""
    factors = pixels.new_tensor([1 + strength * reach.change for strength in strengths])
    rest = without(pixels)
    return (pixels - rest).mul_(factors.view(-1, 1, 1, 1)).add_(rest).clamp_(0, 1)


def _mean_grey(pixels: Tensor) -> Tensor:
    return mean_over(F.rgb_to_grayscale(pixels), (1, 2, 3))


def _blurred(pixels: Tensor) -> Tensor:
    """A mean over 3 x 3 pixels in which the one itself counts 5 times; the border stays.

    Not by a convolution: what a library chooses to compute it hangs on the size of the batch.
    """
    columns = pixels[..., :-2] + pixels[..., 1:-1] + pixels[..., 2:]
    around = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    blurred = pixels.clone()
    blurred[..., 1:-1, 1:-1] = (around + 4 * pixels[..., 1:-1, 1:-1]) / 13
    return blurred


def _posterize(pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    bits = [8 - round(abs(strength) * reach.bits) for strength in strengths]
    result = torch.empty_like(pixels)
    for kept in set(bits):
        places = [n for n, number in enumerate(bits) if number == kept]
        result[places] = F.posterize(pixels[places], kept)
    return result


def _solarize(pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    thresholds = pixels.new_tensor([1 - abs(strength) for strength in strengths])
    return torch.where(pixels >= thresholds.view(-1, 1, 1, 1), 1 - pixels, pixels)


def _autocontrast(pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    return F.autocontrast(pixels)  # type: ignore[no-any-return]


def _equalize(pixels: Tensor, strengths: Sequence[float], reach: Reach) -> Tensor:
    return F.equalize(pixels)  # type: ignore[no-any-return]


_OPERATIONS: dict[str, Callable[[Tensor, Sequence[float], Reach], Tensor]] = {
    "identity": _identity,
    "shear_x": partial(_move, _shear_x),
    "shear_y": partial(_move, _shear_y),
    "shift_x": partial(_move, _shift_x),
    "shift_y": partial(_move, _shift_y),
    "rotate": partial(_move, _rotate),
    "brightness": partial(_blend, torch.zeros_like),
    "colour": partial(_blend, F.rgb_to_grayscale),
    "contrast": partial(_blend, _mean_grey),
    "sharpness": partial(_blend, _blurred),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
OPERATIONS = tuple(_OPERATIONS)

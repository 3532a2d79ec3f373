"""Random hue, saturation, contrast and brightness."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.params import Views
from pipeline.views.pixels import image_means
from pipeline.views.rng import Column


def jitter_color(pixels: Tensor, numbers: Tensor, recipe: Views) -> Tensor:
    """Applies a random color change to every image, float32 [n, 3, height, width] in [0, 1]."""

    def change(column: Column, maximum: float) -> Tensor:
        return (maximum * (2 * numbers[:, column] - 1)).view(-1, 1, 1, 1)

    if recipe.hue:
        pixels = shift_hue(pixels, change(Column.HUE, recipe.hue))
    if recipe.saturation:
        gray = pixels.mean(dim=1, keepdim=True)
        factor = 1 + change(Column.SATURATION, recipe.saturation)
        pixels = (pixels - gray).mul_(factor).add_(gray)
    if recipe.contrast:
        mean = image_means(pixels, (1, 2, 3))
        factor = 1 + change(Column.CONTRAST, recipe.contrast)
        pixels = (pixels - mean).mul_(factor).add_(mean)
    if recipe.brightness:
        pixels = pixels * (1 + change(Column.BRIGHTNESS, recipe.brightness))
    return pixels.clamp(0, 1)


def shift_hue(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Shifts the HSV hue of every image by its own amount.

    torchvision's ``adjust_hue`` takes one amount for the whole batch. Pixels are float32
    [n, 3, height, width] in [0, 1], shifts float32 [n, 1, 1, 1]; 1 is the full circle.
    """
    red, green, blue = (pixels[:, channel : channel + 1] for channel in range(3))
    value = pixels.amax(dim=1, keepdim=True)
    chroma = value - pixels.amin(dim=1, keepdim=True)
    divisor = torch.where(chroma > 0, chroma, 1)  # gray has no hue
    # In sixths of the circle: red, yellow, green, cyan, blue, magenta.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # HSV to RGB: value - chroma * max(0, min(k, 4 - k, 1)), k = (n + hue) mod 6, n = 5, 3, 1.
    offsets = torch.arange(5, 0, -2, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    k = torch.remainder(offsets + hue + 6 * shifts, 6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)

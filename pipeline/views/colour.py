"""Hue, saturation, contrast and brightness."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.params import Views
from pipeline.views.means import mean_over
from pipeline.views.rng import Draw


def recolour(pixels: Tensor, draws: Tensor, recipe: Views) -> Tensor:
    """Changes the colours of every image by as much as is drawn for it.

    Args:
        pixels: float32 [n, 3, size, size] in 0…1.
        draws: float32 [n, at least 16], by ``Draw``.
        recipe: How strong the changes can be.
    """

    def change(column: Draw, strength: float) -> Tensor:
        return (strength * (2 * draws[:, column] - 1)).view(-1, 1, 1, 1)

    if recipe.hue:
        pixels = turn_hue(pixels, change(Draw.HUE, recipe.hue))
    if recipe.saturation:
        grey = pixels.mean(dim=1, keepdim=True)
        factor = 1 + change(Draw.SATURATION, recipe.saturation)
        pixels = (pixels - grey).mul_(factor).add_(grey)
    if recipe.contrast:
        mean = mean_over(pixels, (1, 2, 3))
        factor = 1 + change(Draw.CONTRAST, recipe.contrast)
        pixels = (pixels - mean).mul_(factor).add_(mean)
    if recipe.brightness:
        pixels = pixels * (1 + change(Draw.BRIGHTNESS, recipe.brightness))
    return pixels.clamp(0, 1)


def turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turns every colour along the circle of hues; its HSV saturation and value stay.

    torchvision's ``adjust_hue`` turns all images of a batch by one angle.

    Args:
        pixels: float32 [n, 3, height, width] in 0…1.
        turns: float32 [n, 1, 1, 1], 1 is once around.
    """
    red, green, blue = (pixels[:, channel : channel + 1] for channel in range(3))
    value = pixels.amax(dim=1, keepdim=True)
    chroma = value - pixels.amin(dim=1, keepdim=True)
    divisor = torch.where(chroma > 0, chroma, 1)  # a grey has no hue, whatever is divided by
    # In sixths of the circle, from red by yellow, green, cyan, blue and magenta.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # How far each channel's own hue is: the value up to one sixth, its opposite from two.
    offsets = torch.tensor([5.0, 3.0, 1.0], device=pixels.device).view(1, 3, 1, 1)
    place = torch.remainder(offsets + hue + 6 * turns, 6)
    return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)

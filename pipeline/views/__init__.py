"""Data augmentation. A view is an augmented image: a function of (image, view number, seed).

Its random numbers come from a counter-based generator with the key (seed, view, image), so they do
not depend on the batch, the order or the number of workers. Pixels are computed for a whole batch
on the training device, by operations whose result for an image does not depend on the others.
"""

from __future__ import annotations

import numpy as np
import torch
from finch_runtime.image_size import ImageSize, height_and_width
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Views
from pipeline.transfers import to_device
from pipeline.views.auto_augment import auto_augment
from pipeline.views.blur import blur_motion, defocus
from pipeline.views.color import jitter_color
from pipeline.views.geometry import crop_areas, random_crops, random_erase
from pipeline.views.jpeg import compress
from pipeline.views.noise import add_noise
from pipeline.views.pixels import to_uint8, to_unit_range
from pipeline.views.rendering import render, shrinks
from pipeline.views.rng import count_numbers, random_numbers
from pipeline.views.shadow import cast_shadow
from pipeline.views.warp import random_warps

__all__ = ["make_views", "shrinks", "to_uint8", "to_unit_range"]


def make_views(
    images: NDArray[np.uint8] | Tensor,
    image_ids: NDArray[np.int64],
    view: int,
    recipe: Views,
    device: torch.device,
    size: ImageSize | None = None,
) -> Tensor:
    """Computes one view of every image: float32 [n, channels, height, width] in [0, 1].

    Channels are last in memory.

    Views of one number at several sizes show the same crop with the same changes.

    Args:
        images: uint8 [n, height, width, channels], RGB or gray. Gray images are changed as RGB
            images with three equal channels, of which the first is returned.
        image_ids: int64 [n], indices of the images in their split.
        view: View number, from 0; there is no maximum.
        recipe: Augmentation parameters.
        device: Device of the result.
        size: Size of the views; None is that of the images.
    """
    packed = images.shape[1:3]
    shape = packed if size is None else height_and_width(size)
    numbers = random_numbers(image_ids, view, recipe.seed, count_numbers(recipe))
    on_host = torch.from_numpy(numbers).to(torch.float32)
    on_device = to_device(on_host.numpy(), device)
    warps = None
    if recipe.warps:
        warps = to_device(random_warps(numbers, recipe, shape[1] / shape[0]), device, torch.float32)
    # On the host: fifty operations on one number per image, each of which is a kernel on a GPU.
    theta = to_device(random_crops(on_host, recipe).numpy(), device)
    is_gray = images.shape[3] == 1
    if is_gray and isinstance(images, Tensor):
        images = images.expand(-1, -1, -1, 3)
    elif is_gray:
        images = np.repeat(images, 3, axis=3)
    pixels = render(images, crop_areas(numbers, recipe), theta, warps, shape)
    pixels = jitter_color(pixels, on_device, recipe)
    if recipe.auto != "none":
        pixels = auto_augment(pixels, numbers, recipe, packed)
    # In the order in which they arise: light, lens, hand, sensor, file.
    if recipe.shadow:
        pixels = cast_shadow(pixels, numbers, recipe.shadow)
    if recipe.defocus:
        pixels = defocus(pixels, numbers, recipe.defocus)
    if recipe.motion_blur:
        pixels = blur_motion(pixels, numbers, recipe.motion_blur)
    if recipe.noise:
        pixels = add_noise(pixels, numbers, image_ids, view, recipe.seed, recipe.noise)
    if recipe.jpeg_quality < 100:
        pixels = compress(pixels, numbers, recipe.jpeg_quality)
    if recipe.erase:
        pixels = random_erase(pixels, on_device, recipe.erase)
    if is_gray:
        pixels = pixels[:, :1]
    return pixels.contiguous(memory_format=torch.channels_last)

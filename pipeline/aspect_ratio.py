"""The size of images with the same aspect ratio at any height."""

from __future__ import annotations

from finch_runtime.image_size import ImageSize, image_size


def size_of_height(height: int, aspect_ratio: float) -> ImageSize:
    """The size of an image of this height, in pixels.

    Args:
        height: In pixels.
        aspect_ratio: Width divided by height. The width is rounded to the nearest integer.
    """
    return image_size(height, max(1, round(height * aspect_ratio)))

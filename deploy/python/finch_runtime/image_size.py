"""Height and width of an image in pixels."""

from __future__ import annotations

from typing import Union

ImageSize = Union[int, tuple[int, int]]  # noqa: UP007, Python 3.9 has no | for types
"""One number for a square image, (height, width) for any other, as in torchvision and timm."""


def image_size(height: int, width: int) -> ImageSize:
    """The size of an image, in the only form that it has."""
    return height if height == width else (height, width)


def height_and_width(size: ImageSize) -> tuple[int, int]:
    """Both sides of an image."""
    return (size, size) if isinstance(size, int) else size


def as_text(size: ImageSize) -> str:
    """``96``, or ``96 x 144``, the height first."""
    return str(size) if isinstance(size, int) else f"{size[0]} x {size[1]}"


def in_pixels(size: ImageSize) -> str:
    """``96 px``, or ``96 x 144 px``, the height first."""
    return f"{as_text(size)} px"

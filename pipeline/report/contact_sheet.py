"""Many small images as one WebP file that a page embeds."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 72  # keeps a page with a thousand thumbnails below 3 MB
_GAP = 2  # pixels between images
_MAP = 600  # longer side of a matrix, in pixels
_MAP_COLOR = (46, 150, 112)  # is visible on light and dark pages


@dataclass(frozen=True)
class ContactSheet:
    """An image as ``data:`` URL, and its size in pixels."""

    address: str
    width: int
    height: int


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Downsamples an image, uint8 [height, width, channels], to at most ``side`` pixels per side.

    The result is RGB.
    """
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    height, width = (max(1, round(each / longer * side)) for each in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def contact_sheet(images: Sequence[NDArray[np.uint8] | None], columns: int) -> ContactSheet:
    """Arranges images of one shape, uint8 [height, width, 3], in rows.

    The first one is an image. None leaves a place empty. Empty places and the gaps between images
    are transparent, so that the sheet suits light and dark pages.
    """
    assert images[0] is not None
    down, across = (side + _GAP for side in images[0].shape[:2])
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = rows * down - _GAP, columns * across - _GAP
    sheet = np.zeros((height, width, 4), dtype=np.uint8)
    for index, image in enumerate(images):
        if image is not None:
            top, left = down * (index // columns), across * (index % columns)
            sheet[top : top + down - _GAP, left : left + across - _GAP] = np.dstack(
                [image, np.full(image.shape[:2], 255, dtype=np.uint8)]
            )
    return _encode(sheet, quality=_QUALITY)


def intensity_map(fractions: NDArray[np.floating]) -> ContactSheet:
    """A matrix, float [rows, columns] in [0, 1], as squares of one color; 0 is transparent."""
    side = max(1, _MAP // max(fractions.shape))
    squares = np.kron(np.sqrt(fractions), np.ones((side, side)))  # the root shows small fractions
    color = np.broadcast_to(np.array(_MAP_COLOR), (*squares.shape, 3))
    alpha = (255 * squares[..., np.newaxis]).round()
    return _encode(np.concatenate([color, alpha], axis=2).astype(np.uint8), lossless=True)


def _encode(pixels: NDArray[np.uint8], **options: Any) -> ContactSheet:
    """RGBA pixels, uint8 [height, width, 4], as WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", **options)
    address = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return ContactSheet(address, pixels.shape[1], pixels.shape[0])


def evenly_spaced(indices: NDArray[np.integer], most: int) -> list[int]:
    """At most ``most`` of the indices, evenly spaced."""
    spread = np.linspace(0, len(indices) - 1, min(most, len(indices)))
    chosen: list[int] = indices[spread.round().astype(int)].tolist()
    return chosen

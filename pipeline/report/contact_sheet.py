"""Many small images as one JPEG that a page embeds."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 72  # keeps a page with a thousand thumbnails below 3 MB
_GAP = 2  # pixels between images


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Downsamples a square image uint8 [size, size, channels] to at most ``side`` pixels.

    The result is RGB.
    """
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    if len(image) <= side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def contact_sheet(images: Sequence[NDArray[np.uint8]], columns: int) -> str:
    """Arranges square images, uint8 [side, side, 3], in rows; returns a JPEG as ``data:`` URL."""
    step = len(images[0]) + _GAP
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * step - _GAP, columns * step - _GAP, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = step * (index // columns), step * (index % columns)
        sheet[top : top + len(image), left : left + len(image)] = image
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def evenly_spaced(indices: NDArray[np.integer], most: int) -> list[int]:
    """At most ``most`` of the indices, evenly spaced."""
    spread = np.linspace(0, len(indices) - 1, min(most, len(indices)))
    chosen: list[int] = indices[spread.round().astype(int)].tolist()
    return chosen

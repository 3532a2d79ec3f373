"""Many small photographs as one picture that a page carries within itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 72  # with the thumbnails this small, a page of a thousand stays under 3 MB


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A square image uint8 [size, size, 3] with a side of ``side`` pixels at most."""
    if len(image) <= side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def contact_sheet(
    images: Sequence[NDArray[np.uint8]], columns: int, *, gap: int = 2, white: bool = True
) -> str:
    """Sets square images of one size in rows.

    Args:
        images: uint8 [side, side, 3] each, at least one.
        columns: Images in a row.
        gap: Pixels between them.
        white: Fills the gaps with white, or else with mid-grey, which parts bright images too.

    Returns:
        A JPEG as a ``data:`` address.
    """
    side = len(images[0])
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    step = side + gap
    shape = (rows * step - gap, columns * step - gap, 3)
    sheet = np.full(shape, 255 if white else 128, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = step * (place // columns), step * (place % columns)
        sheet[top : top + side, left : left + side] = image
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")

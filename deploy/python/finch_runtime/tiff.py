"""What Pillow does not say, or does not take into account, of an open TIFF file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_BITS, _PHOTOMETRIC, _PLANES, _ROWS_PER_STRIP = 258, 262, 284, 278
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_WIDTH, _CHANNELS, _SAMPLE_FORMAT = 256, 277, 339
_NUMBERS = {2: ", signed", 3: ", floating-point", 5: ", complex", 6: ", complex"}
_BIG = 43
_NEW_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 1 | 4
_WHITE_IS_ZERO = 0
_SEPARATE = 2

# Pillow's names of 16-bit pixels that it does not invert.
_NOT_INVERTED = ("I;16", "I;16L", "I;16B", "I;16N")


def strip_bytes(image: Any) -> float:
    """Decompressed size of a strip or tile; 0 without compression."""
    if not _is_compressed(image):
        return 0
    tags: Mapping[int, Any] = image.tag_v2
    width, height = image.size
    if _TILE_WIDTH in tags:
        columns, rows = tags[_TILE_WIDTH], tags[_TILE_HEIGHT]
    else:
        columns, rows = width, min(tags.get(_ROWS_PER_STRIP, height), height)
    return float(columns * rows * sum(_bits(image)) / 8)


def why_misread(image: Any) -> str:
    """Why Pillow gives wrong pixels without an error; empty if it does not."""
    separate = image.tag_v2.get(_PLANES) == _SEPARATE
    if separate and not _is_compressed(image) and set(_bits(image)) != {8}:
        return "has uncompressed separate planes that are not of 8 bits"
    return ""


def gray_range(image: Any) -> tuple[int, int]:
    """The values of black and white among pixels that Pillow opens with 16 bits.

    Call it before ``image.load``.
    """
    tags: Mapping[int, Any] = image.tag_v2
    white = 4095 if _bits(image) == (12,) else 65535
    raw_mode = image.tile[0].args[0] if image.tile else ""
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and raw_mode in _NOT_INVERTED
    return (white, 0) if inverted else (0, white)


def describe(file: BinaryIO) -> str:
    """Channels and bits of a file that Pillow does not open; empty if it is damaged."""
    try:
        file.seek(0)
        header = file.read(8)
        if header[2] == _BIG or header[3] == _BIG:
            header += file.read(8)
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.load(file)
        if _WIDTH not in tags:
            return ""
        channels, bits = int(tags.get(_CHANNELS, 1)), tags.get(_BITS, (1,))
        kind = _NUMBERS.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "")
    except Exception:  # the tags of a damaged file have any type
        return ""
    unit = "channel" if channels == 1 else "channels"
    return f"{channels} {unit} of {'/'.join(map(str, sorted(set(bits))))} bits{kind}"


def is_further_image(page: Any) -> bool:
    """Whether a page is an image of its own, rather than a preview or mask of another page."""
    kind = page.tag_v2.get(_NEW_SUBFILE_TYPE, 0)
    return not (isinstance(kind, int) and kind & _REDUCED_OR_MASK)


def _bits(image: Any) -> tuple[int, ...]:
    bits: tuple[int, ...] = image.tag_v2.get(_BITS, (8,))
    return bits


def _is_compressed(image: Any) -> bool:
    return any(tile[0] == "libtiff" for tile in image.tile)

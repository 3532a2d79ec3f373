"""Decodes an image file to the pixels of the model's input, in training and on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from finch_runtime.bundle import FITS
from finch_runtime.errors import RuntimeProblem, last_line

# Pillow detects formats by content and would pass EPS, which is a program, to Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")

# 256 MiB as RGB. A small file can declare any size, so the header is checked before decoding.
MAX_PIXELS = (256 << 20) // 3

_EXIF_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: str | Path | BinaryIO, size: int, fit: str) -> np.ndarray[Any, Any]:
    """Reads one image as the model's input.

    The first frame is rotated by its EXIF orientation, composited on white if it is transparent,
    converted to 8-bit RGB (color profiles are not applied), and resized with an antialiased
    bilinear filter.

    Args:
        source: A path, or a file open for binary reading, which is left open.
        size: Height and width of the result in pixels.
        fit: ``crop`` scales the shorter side to ``size`` and crops the center; ``stretch`` scales
            each side separately.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        RuntimeProblem: The file is missing, not an image, damaged, or has more than
            ``MAX_PIXELS`` pixels; the message names it.
    """
    if size < 1:
        raise RuntimeProblem("size", f"{size} is too small", "use 1 or more")
    if fit not in FITS:
        raise RuntimeProblem("fit", f"{fit!r} is unknown", f"use one of {', '.join(FITS)}")
    image = _decode(source)
    return np.array(_scale(image, size, fit), dtype=np.uint8)


def _decode(source: str | Path | BinaryIO) -> Image.Image:
    name = source if isinstance(source, (str, Path)) else getattr(source, "name", "image")
    try:
        with Image.open(source, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                problem = f"has {width} x {height} pixels, more than {MAX_PIXELS:,}"
                raise RuntimeProblem(name, problem, "reduce its size")
            image.load()
            return _to_rgb(name, _apply_orientation(image))
    except RuntimeProblem:
        raise
    except FileNotFoundError:
        raise RuntimeProblem(name, "no such file", "check the path") from None
    except IsADirectoryError:
        raise RuntimeProblem(name, "is a folder", "pass the image files in it") from None
    except PermissionError:
        raise RuntimeProblem(name, "permission denied", "check the file's permissions") from None
    except UnidentifiedImageError:
        problem = f"not an image in a supported format ({', '.join(FORMATS)})"
        raise RuntimeProblem(name, problem, "convert it to JPEG") from None
    except Image.DecompressionBombError:
        raise RuntimeProblem(name, "has too many pixels", "reduce its size") from None
    except Exception as error:  # decoders raise arbitrary exceptions on damaged files
        problem = f"cannot be decoded: {last_line(error)}"
        raise RuntimeProblem(name, problem, "copy it again or remove it") from error


def _apply_orientation(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose rewrites the whole EXIF block, which fails if any entry is damaged.
    method = _TRANSPOSE.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    return image if method is None else image.transpose(method)


def _to_rgb(name: object, image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_16_bit(name, image)
    elif image.mode == "F":
        raise RuntimeProblem(name, "has floating-point pixels", "save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bit(name: object, image: Image.Image) -> Image.Image:
    """Scales [0, 65535] to [0, 255], rounded; Pillow's conversion clips at 255."""
    wide = np.asarray(image)
    if wide.min() < 0 or wide.max() > 65535:
        raise RuntimeProblem(name, "has pixels outside of [0, 65535]", "save it with 8 or 16 bits")
    return Image.fromarray(((wide.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _scale(image: Image.Image, size: int, fit: str) -> Image.Image:
    width, height = image.size
    if fit == "crop":
        # A box computes only the remaining pixels: a strip of 1 x 1,000,000 is not enlarged first.
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    else:
        box = (0, 0, width, height)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)

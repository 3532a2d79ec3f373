"""From an image file to the square of pixels that the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from finch_runtime.errors import RuntimeProblem, said_by
from finch_runtime.fit import FITS

# Named, because Pillow knows formats that are programs (it hands EPS to Ghostscript) and tells
# formats by content: without the list a file named .jpg could be any of them.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")

# 256 MiB as RGB. A small file can declare any size, so the header is judged before decoding.
MAX_PIXELS = (256 << 20) // 3

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: str | Path | BinaryIO, size: int, fit: str) -> np.ndarray[Any, Any]:
    """Read one image as the model sees it.

    The first frame is turned upright by its EXIF orientation, laid on white where it is
    transparent, brought to 8-bit RGB (colour profiles are not applied), and scaled with an
    antialiasing bilinear filter.

    Args:
        source: A path, or a file open for binary reading (left open).
        size: Side of the result in pixels.
        fit: ``crop`` scales the shorter side to ``size`` and cuts out the middle; ``stretch``
            scales each side on its own.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        RuntimeProblem: The file is missing, is not an image, is damaged, or has more than
            ``MAX_PIXELS`` pixels; the message names it.
    """
    if size < 1:
        raise RuntimeProblem("size", f"{size} pixels make no image", "use 1 or more")
    if fit not in FITS:
        raise RuntimeProblem("fit", f"{fit!r} is not known", f"use one of {', '.join(FITS)}")
    image = _decode(source)
    return np.array(_scale(image, size, fit), dtype=np.uint8)


def _decode(source: str | Path | BinaryIO) -> Image.Image:
    name = source if isinstance(source, (str, Path)) else getattr(source, "name", "image")
    try:
        with Image.open(source, formats=FORMATS) as image:
            _refuse_too_large(name, image.size)
            image.load()
            return _to_rgb(name, _turn_upright(image))
    except RuntimeProblem:
        raise
    except FileNotFoundError:
        raise RuntimeProblem(name, "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise RuntimeProblem(name, "is a folder", "name the image files in it") from None
    except PermissionError:
        raise RuntimeProblem(name, "may not be read", "check who owns it") from None
    except UnidentifiedImageError:
        raise RuntimeProblem(
            name, f"is not an image in a known format ({', '.join(FORMATS)})", "convert it to JPEG"
        ) from None
    except Image.DecompressionBombError:
        raise RuntimeProblem(name, "declares far too many pixels", "scale it down") from None
    except Exception as error:  # decoders raise anything at all on damaged files
        raise RuntimeProblem(
            name, f"cannot be decoded: {said_by(error)}", "copy it again or leave it out"
        ) from error


def _refuse_too_large(name: object, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise RuntimeProblem(
            name,
            f"declares {width} x {height} pixels, more than {MAX_PIXELS:,}",
            "scale it down",
        )


def _turn_upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose writes the whole EXIF block anew, and so fails on a photograph with
    # a damaged entry that has nothing to do with its orientation.
    method = _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    return image if method is None else image.transpose(method)


def _to_rgb(name: object, image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_16_bit(name, image)
    elif image.mode == "F":
        raise RuntimeProblem(
            name, "has floating-point pixels of unknown range", "save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _from_16_bit(name: object, image: Image.Image) -> Image.Image:
    """Scale 0 ... 65535 to 0 ... 255, rounded; Pillow's own conversion clips at 255."""
    wide = np.asarray(image)
    if wide.min() < 0 or wide.max() > 65535:
        raise RuntimeProblem(name, "has pixels outside of 0 ... 65535", "save it with 8 or 16 bits")
    return Image.fromarray(((wide.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _scale(image: Image.Image, size: int, fit: str) -> Image.Image:
    width, height = image.size
    if fit == "crop":
        # The shorter side is scaled to `size` and the middle is cut out. Given as a box, only the
        # pixels that stay are computed: a strip of 1 x 1,000,000 is not blown up first.
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    else:
        box = (0, 0, width, height)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)

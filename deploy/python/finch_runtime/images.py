"""Decodes an image file to the pixels of the model's input, in training and on the device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from finch_runtime import tiff
from finch_runtime.content import HEADER, name_image, name_other, remedy_for
from finch_runtime.errors import RuntimeProblem, last_line, printable
from finch_runtime.fit import FITS, PAD_FILL
from finch_runtime.formats import NEEDED, format_of_suffix, readable_formats
from finch_runtime.image_size import ImageSize, height_and_width
from finch_runtime.regular import why_unreadable
from finch_runtime.scans import count_scans, name_kind

# 256 MiB as RGB. A small file can declare any size, so the header is checked before decoding.
MAX_PIXELS = (256 << 20) // 3

# Decoding takes up to 8 bytes per pixel: Pillow stores RGB in 4, and some modes are converted.
# WebP takes 17 and JPEG 2000 25. AVIF and HEIF with 10 bits take 16, and 25 with transparency. With
# these limits, all stay below 800 MB.
_MAX_PIXELS = {
    "WEBP": MAX_PIXELS // 2,
    "JPEG2000": MAX_PIXELS // 3,
    "AVIF": 50_000_000,
    "HEIF": 50_000_000,
}
_MAX_TRANSPARENT = {"AVIF": MAX_PIXELS // 3, "HEIF": MAX_PIXELS // 3}
_MAX_SLOW = 1_000_000
"""For decoders in Python, at about 1 second per million pixels."""

# Pixels times scans. A usual progressive JPEG has 10 scans.
_MAX_SCANNED = 20 * MAX_PIXELS

# Pillow reads some formats whole. No file is larger than its pixels with 16 bits and 4 channels.
_MAX_FILE = 8 * MAX_PIXELS

_TILE = 1024

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


class SuffixWarning(UserWarning):
    """A file's content has another format than its suffix says. It is read by its content."""


def load_image(
    source: str | Path | BinaryIO, size: ImageSize, fit: str, channels: int = 3
) -> np.ndarray[Any, Any]:
    """Reads one image as the model's input.

    The first frame is rotated by its EXIF orientation, composited on white if it is transparent,
    converted to 8-bit RGB (color profiles are not applied) or from there to gray (the luma of
    Rec. 601, as Pillow's mode L), and resized with an antialiased bilinear filter.

    Args:
        source: A path, or a file open for binary reading, which is left open.
        size: Height and width of the result in pixels, as one number if they are equal.
        fit: ``crop`` scales the largest centered part that has the shape of the result; ``stretch``
            scales each side separately; ``pad`` scales the whole image to the largest size that
            fits and fills the rest with two equal bars of the gray ``fit.PAD_FILL``, as Pillow's
            ``ImageOps.pad``.
        channels: 3 for RGB, 1 for gray.

    Returns:
        uint8 [height, width, channels].

    Warns:
        SuffixWarning: The content of the file has another format than its suffix says.

    Raises:
        RuntimeProblem: The file is missing, not a regular file, not an image, or damaged; or it has
            more than ``MAX_PIXELS`` pixels, or takes more than about 800 MB or 10 seconds to
            decode. The message names it.
    """
    return load_inputs(source, [(size, fit)], channels)[0]


def load_inputs(
    source: str | Path | BinaryIO, inputs: Sequence[tuple[ImageSize, str]], channels: int = 3
) -> list[np.ndarray[Any, Any]]:
    """Reads one image as the inputs of several models, as ``load_image`` for each (size, fit).

    The file is decoded once; every input is scaled from the decoded image.
    """
    for size, fit in inputs:
        _check_scaling(size, fit)
    if channels not in (1, 3):
        raise RuntimeProblem("channels", f"{channels} is not possible", "use 3 or 1")
    image = _decode(source)
    if channels == 1:
        image = image.convert("L")
    return [_scale(image, size, fit) for size, fit in inputs]


def _check_scaling(size: ImageSize, fit: str) -> None:
    if min(height_and_width(size)) < 1:
        raise RuntimeProblem("size", f"{size} is too small", "use 1 or more")
    if fit not in FITS:
        raise RuntimeProblem("fit", f"{fit!r} is unknown", f"use one of {', '.join(FITS)}")


def _decode(source: str | Path | BinaryIO) -> Image.Image:
    if not isinstance(source, (str, Path)):
        if not hasattr(source, "seek"):
            kind = type(source).__name__
            problem = f"is of type {kind}, neither a path nor a file open for binary reading"
            remedy = "wrap encoded bytes in io.BytesIO; `Session.run` takes an array of pixels"
            raise RuntimeProblem("image", problem, remedy)
        return _decode_file(getattr(source, "name", "image"), source)
    unreadable = why_unreadable(Path(source))
    if unreadable is not None:
        is_folder = os.path.isdir(source)  # noqa: PTH112, raises no error for impossible names
        problem = "is a folder" if is_folder else unreadable
        remedy = "pass the image files in it" if is_folder else "check the path"
        raise RuntimeProblem(source, problem, remedy)
    try:
        with Path(source).open("rb") as file:
            return _decode_file(source, file)
    except PermissionError:
        raise RuntimeProblem(source, "permission denied", "check the file's permissions") from None


def _decode_file(name: object, file: BinaryIO) -> Image.Image:
    try:
        if file.seek(0, os.SEEK_END) > _MAX_FILE:
            problem = f"is larger than {_MAX_FILE / 1e6:,.0f} MB"
            raise RuntimeProblem(name, problem, "reduce its size")
        file.seek(0)
        # No `with`: it would keep the decoded pixels until the end, beside the converted ones.
        image: Image.Image = Image.open(file, formats=readable_formats())
        _warn_of_suffix(name, format_of_image(image))
        _check_cost(name, image, file)
        gray_range = (0, 65535)
        if image.format == "TIFF":
            misread = tiff.why_misread(image)
            if misread:
                raise RuntimeProblem(name, misread, "save it with compression, or with 8 bits")
            gray_range = tiff.gray_range(image)
        image.load()
        image = _apply_orientation(image)
        return _to_rgb(name, image, gray_range)
    except (RuntimeProblem, PermissionError):
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise _unidentified(name, file) from None
    except Image.DecompressionBombError:
        raise RuntimeProblem(name, "has too many pixels", "reduce its size") from None
    except Exception as error:  # decoders raise arbitrary exceptions on damaged files
        problem = f"cannot be decoded: {last_line(error)}"
        raise RuntimeProblem(name, problem, "copy it again or remove it") from error


def format_of_image(image: Image.Image) -> str:
    """The name in ``formats.SUFFIXES`` of the format of an open image."""
    # A photograph of a phone can be an MPO file: a JPEG file with further ones after it.
    return "JPEG" if image.format == "MPO" else str(image.format)


def contradiction(name: str, found: str) -> str:
    """What a suffix says of a file whose content is ``found``; empty if it does not contradict."""
    expected = format_of_suffix(os.path.splitext(name)[1])  # noqa: PTH122, also for impossible names
    return f"is {found}, but has a suffix of {expected}" if expected not in (None, found) else ""


def _warn_of_suffix(name: object, found: str) -> None:
    text = contradiction(str(name), found)
    if text:
        warnings.warn(f"{printable(str(name))}: {text}", SuffixWarning, stacklevel=5)


def _unidentified(name: object, file: BinaryIO) -> RuntimeProblem:
    """The problem of a file that no decoder accepts, named by what it is."""
    header = file.read(HEADER)
    found = name_image(header)
    if found == "JPEG":
        found = name_kind(header + file.read()) or found
    kind = tiff.describe(file) if found == "TIFF" else ""
    if kind:
        problem = f"is TIFF with {kind}, which is not supported"
        return RuntimeProblem(name, problem, "save it as gray or RGB with 8 or 16 bits")
    if found in readable_formats():
        problem = f"is damaged, or {found} of a kind that is not supported"
        return RuntimeProblem(name, problem, "copy it again, or convert it to JPEG with 8 bits")
    if found in NEEDED:
        needed = NEEDED[found]
        return RuntimeProblem(
            name, f"is {found}, which needs {needed}", "install it, or convert the file to JPEG"
        )
    if found is not None:
        problem = f"not an image in a supported format, but {found}"
        return RuntimeProblem(name, problem, "convert it to JPEG")
    other = name_other(header)
    if other is not None:
        return RuntimeProblem(name, f"not an image, but {other}", remedy_for(other))
    problem = f"not an image in a supported format ({', '.join(readable_formats())})"
    return RuntimeProblem(name, problem, "convert it to JPEG")


def _check_cost(name: object, image: Image.Image, file: BinaryIO) -> None:
    """Refuses what takes too much memory or time to decode, before it is decoded."""
    kind = format_of_image(image)
    width, height = image.size
    limit = _MAX_PIXELS.get(kind, MAX_PIXELS)
    if image.mode in ("RGBA", "LA") and kind in _MAX_TRANSPARENT:
        limit, kind = _MAX_TRANSPARENT[kind], f"{kind} with transparency"
    if kind == "PPM" and _is_slow(image):
        limit, kind = _MAX_SLOW, "PPM of this kind"
    if width * height > limit:
        problem = f"has {width} x {height} pixels, more than {limit:,} in {kind}"
        raise RuntimeProblem(name, problem, "reduce its size")
    if kind == "JPEG":
        file.seek(0)
        scans = count_scans(file.read())
        if width * height * scans > _MAX_SCANNED:
            problem = f"has {scans:,} scans of {width} x {height} pixels"
            raise RuntimeProblem(name, problem, "save it again with fewer")
        if (4 + _coefficient_bytes(image, scans)) * width * height > 8 * MAX_PIXELS:
            problem = f"has {width} x {height} pixels, too many for a progressive JPEG of this kind"
            raise RuntimeProblem(name, problem, "reduce its size, or save it as a baseline JPEG")
    elif kind == "TIFF":
        strip = tiff.strip_bytes(image)  # is held compressed and decompressed
        if 8 * width * height + 2 * strip > 8 * MAX_PIXELS:
            problem = f"has compressed strips or tiles of {strip / 1e6:,.0f} MB"
            raise RuntimeProblem(name, problem, "save it again with smaller ones")


def _coefficient_bytes(image: Any, scans: int) -> float:
    """Bytes per pixel of a JPEG file's coefficients, which are kept from scan to scan."""
    if scans < 2 and "progressive" not in image.info:
        return 0
    samples = [across * down for _, across, down, *_ in image.layer]
    widest, highest = (max(layer[at] for layer in image.layer) for at in (1, 2))
    return float(2 * sum(samples) / (widest * highest))


def _is_slow(image: Any) -> bool:
    return any(tile[0] != "raw" for tile in image.tile)


def _apply_orientation(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose rewrites the whole EXIF block, which fails if any entry is damaged.
    method = _TRANSPOSE.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    return image if method is None else image.transpose(method)


def _to_rgb(name: object, image: Image.Image, gray_range: tuple[int, int]) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    width, height = image.size
    if max(width, height) <= _TILE:
        return _tile_to_rgb(name, image, gray_range)
    # By tiles, since each step of the conversion makes a copy.
    result = Image.new("RGB", image.size)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            box = (left, top, min(left + _TILE, width), min(top + _TILE, height))
            result.paste(_tile_to_rgb(name, image.crop(box), gray_range), box)
    return result


def _tile_to_rgb(name: object, image: Image.Image, gray_range: tuple[int, int]) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _from_16_bit(name, image, gray_range)
    elif image.mode == "F":
        raise RuntimeProblem(name, "has floating-point pixels", "save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bit(name: object, image: Image.Image, gray_range: tuple[int, int]) -> Image.Image:
    """Scales black to 0 and white to 255, rounded; Pillow's conversion clips at 255."""
    wide = np.asarray(image)
    _, white = gray_range
    most = max(gray_range)
    if wide.min() < 0 or wide.max() > most:
        problem = f"has pixels outside of [0, {most}]"
        raise RuntimeProblem(name, problem, "save it with 8 or 16 bits")
    gray = (wide.astype(np.uint32) * 255 + most // 2) // most
    return Image.fromarray((gray if white else 255 - gray).astype(np.uint8))


def _scale(image: Image.Image, size: ImageSize, fit: str) -> np.ndarray[Any, Any]:
    height, width = height_and_width(size)
    if fit == "pad":
        return _pad(image, height, width)
    box = _largest_box(image, height, width) if fit == "crop" else (0, 0, *image.size)
    # A box computes only the remaining pixels: a strip of 1 x 1,000,000 is not enlarged first.
    scaled = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.array(scaled, dtype=np.uint8).reshape(height, width, -1)


def _largest_box(image: Image.Image, height: int, width: int) -> tuple[int, int, int, int]:
    """The largest centered part with the shape of ``height`` x ``width``, in whole pixels."""
    across, down = image.size
    if across * height > down * width:
        across = max(1, round(down * width / height))
    else:
        down = max(1, round(across * height / width))
    left, top = (image.size[0] - across) // 2, (image.size[1] - down) // 2
    return left, top, left + across, top + down


def _pad(image: Image.Image, height: int, width: int) -> np.ndarray[Any, Any]:
    across, down = image.size
    # At least 1, for strips; ImageOps.pad cannot scale them.
    if across * height > down * width:
        inner = width, max(1, round(down / across * width))
    else:
        inner = max(1, round(across / down * height)), height
    left, top = round((width - inner[0]) / 2), round((height - inner[1]) / 2)
    scaled = np.asarray(image.resize(inner, Image.Resampling.BILINEAR))
    scaled = scaled.reshape(inner[1], inner[0], -1)
    result = np.full((height, width, scaled.shape[2]), PAD_FILL, dtype=np.uint8)
    result[top : top + inner[1], left : left + inner[0]] = scaled
    return result

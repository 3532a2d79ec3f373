"""Decoding of one image, with the checks that make it fit for training.

The checks are stricter than those of the device runtime, which accepts whatever can be decoded: a
file with the wrong suffix, several frames or hardly any pixels is a mistake in collecting the data.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from dataclasses import dataclass

import imagehash
import numpy as np
from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.images import load_image
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.sources.base import Sample

MIN_SIDE = 8
"""Minimum height and width in pixels; digits of 8 x 8 pixels can still be recognized."""

MAX_BYTES = 256 << 20
"""Maximum file size. Files are read whole; a larger one could exhaust memory."""

HASH_SIDE = 16
"""The perceptual hash has ``HASH_SIDE**2`` bits. 64 bits do not distinguish solar cells."""

MIN_CONTRAST = 2.0
"""Below this ``DecodedImage.contrast``, an image is blank and its perceptual hash is noise."""

_FORMAT_OF_SUFFIX = {
    **{".bmp": "BMP", ".gif": "GIF", ".jp2": "JPEG2000", ".png": "PNG", ".webp": "WEBP"},
    **dict.fromkeys((".jfif", ".jpe", ".jpeg", ".jpg"), "JPEG"),
    **dict.fromkeys((".pgm", ".pnm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
}


@dataclass(frozen=True)
class DecodedImage:
    """A usable image.

    Attributes:
        pixels: uint8 [size, size, 3], as a device will load it.
        width: Width of the file's image in pixels, before EXIF rotation.
        height: Height of the same.
        contrast: Standard deviation of the grayscale pixels, on a scale of 0 to 255.
        file_hash: SHA-256 of the encoded bytes.
        pixel_hash: SHA-256 of ``pixels``; equal for lossless copies in different formats.
        perceptual_hash: pHash of ``pixels``, uint64 [HASH_SIDE**2 / 64].
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    contrast: float
    file_hash: bytes
    pixel_hash: bytes
    perceptual_hash: NDArray[np.uint64]


@dataclass(frozen=True)
class UnreadableImage:
    """An image that cannot be used, and why."""

    problem: str


class _UnusableError(Exception):
    def __init__(self, problem: str) -> None:
        self.problem = problem


def decode_image(sample: Sample, size: int, fit: str) -> DecodedImage | UnreadableImage:
    """Reads, checks, decodes and hashes one image. Raises nothing, whatever the bytes are.

    Args:
        sample: The image.
        size: Height and width of the result in pixels.
        fit: ``crop`` or ``stretch`` (``prepare.fit``).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is checked here
        try:
            content = _read(sample)
            pixels = load_image(io.BytesIO(content), size, fit)
            width, height = _check(sample, content)
        except (RuntimeProblem, _UnusableError) as error:
            return UnreadableImage(error.problem)
        except OSError as error:
            return UnreadableImage(f"cannot be read ({error.strerror or last_line(error)})")
        except Exception as error:  # decoders and Sample.content raise many types
            return UnreadableImage(f"cannot be decoded ({last_line(error)})")
    image = Image.fromarray(pixels)
    bits = imagehash.phash(image, hash_size=HASH_SIDE).hash
    return DecodedImage(
        pixels=pixels,
        width=width,
        height=height,
        contrast=float(np.asarray(image.convert("L"), np.float32).std()),
        file_hash=hashlib.sha256(content).digest(),
        pixel_hash=hashlib.sha256(pixels.tobytes()).digest(),
        perceptual_hash=np.packbits(bits).view(np.uint64),
    )


def _read(sample: Sample) -> bytes:
    if sample.content is None:
        status = sample.path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            raise _UnusableError("is not a file")
        if status.st_size > MAX_BYTES:
            raise _UnusableError(f"has {status.st_size:,} bytes, more than {MAX_BYTES:,}")
    content = sample.read()
    if not content:
        raise _UnusableError("is empty")
    return content


def _check(sample: Sample, content: bytes) -> tuple[int, int]:
    """Checks an image that can be decoded; returns its width and height."""
    with Image.open(io.BytesIO(content)) as image:
        image_format, (width, height) = image.format, image.size
        frames = int(getattr(image, "n_frames", 1))
    if image_format == "MPO":  # a JPEG with a preview or depth map appended, from a phone
        image_format, frames = "JPEG", 1
    # The path of a sample with `content` does not name an image file.
    expected = None if sample.content else _FORMAT_OF_SUFFIX.get(sample.path.suffix.lower())
    if expected and expected != image_format:
        raise _UnusableError(f"is {image_format}, but its suffix means {expected}")
    if frames > 1:
        raise _UnusableError(f"has {frames} frames or pages, expected 1")
    if min(width, height) < MIN_SIDE:
        raise _UnusableError(f"has {width} x {height} pixels, the minimum is {MIN_SIDE} per side")
    if image_format == "PNG":
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # checksums and the end of the file, which decoding ignores
    return width, height

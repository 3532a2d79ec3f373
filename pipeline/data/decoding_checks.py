"""Decodes one image, and checks that it can be used for training.

The checks are stricter than those of the device runtime, which accepts every decodable image. A
file with several frames or very few pixels is usually a mistake.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import imagehash
import numpy as np
from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.formats import readable_formats
from finch_runtime.image_size import ImageSize, height_and_width
from finch_runtime.images import contradiction, format_of_image, load_inputs
from finch_runtime.scans import has_end
from finch_runtime.tiff import is_further_image
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.capture import read_capture
from pipeline.data.sources.base import Sample

MIN_SIDE = 8
"""Minimum height and width in pixels; digits of 8 x 8 pixels can still be recognized."""

MAX_BYTES = 256 << 20
"""Maximum file size. Files are read whole; a larger one could exhaust memory."""

HASH_SIDE = 16
"""The perceptual hash has ``HASH_SIDE**2`` bits. 64 bits are too few for images of solar cells."""

RECORD_SIZE = 96
"""Height and width in pixels of the image from which the record is computed; the default distance
of near-duplicates was chosen at this size (docs/data.md)."""

_MAX_FRAMES = 100

MIN_CONTRAST = 2.0
"""An image with a lower ``contrast`` is blank, and its perceptual hash is meaningless."""

DARK = 17.0
"""An image with a lower ``brightness`` is dark. Pixels of 12 bits in 16 are at most 4095 of 65535,
which is 16 of 255."""

RECORD = np.dtype(
    [
        ("size", np.int32, 2),
        ("contrast", np.float32),
        ("brightness", np.float32),
        ("file_hash", np.uint8, 32),
        ("pixel_hash", np.uint8, 32),
        ("perceptual_hash", np.uint64, HASH_SIDE**2 // 64),
        ("capture_time", np.int64),
        ("camera", np.uint64),
    ]
)
"""Metadata of an image.

``size`` is the width and height of the image in the file, before EXIF rotation. ``contrast`` is the
standard deviation of the grayscale pixels, and ``brightness`` their 99th percentile, on a scale of
0 to 255. ``file_hash`` and ``pixel_hash`` are SHA-256 hashes of the encoded bytes and of the
pixels; the latter is equal for lossless copies in different formats. ``perceptual_hash`` is the
pHash of the pixels. ``capture_time`` and ``camera`` are those of ``read_capture``.

The pixels are those of the whole image, scaled to ``RECORD_SIZE``. So copies and near-duplicates,
and with them the splits, do not depend on the sizes that are packed.
"""


@dataclass(frozen=True)
class DecodedImage:
    """An image and its record, or zeros and the reason why it cannot be used.

    Attributes:
        pixels: uint8 [height, width, channels], as the device runtime loads them.
        record: A scalar of dtype ``RECORD``.
        problem: Empty for a usable image.
        remark: What is unusual about the file of a usable image; usually empty.
        others: The same image at further sizes, uint8, each scaled from the file.
    """

    pixels: NDArray[np.uint8]
    record: NDArray[np.void]
    problem: str = ""
    remark: str = ""
    others: tuple[NDArray[np.uint8], ...] = ()


def unusable_image(
    problem: str, size: ImageSize, other_sizes: Sequence[ImageSize] = (), channels: int = 3
) -> DecodedImage:
    """An image that cannot be used; the sizes are those of its pixels, which are zeros."""
    shapes = [(*height_and_width(each), channels) for each in (size, *other_sizes)]
    pixels, *others = (np.zeros(shape, np.uint8) for shape in shapes)
    return DecodedImage(pixels, np.zeros((), RECORD), problem, others=tuple(others))


class _UnusableError(Exception):
    pass


def decode_image(
    sample: Sample,
    size: ImageSize,
    fit: str,
    other_sizes: Sequence[ImageSize] = (),
    channels: int = 3,
) -> DecodedImage:
    """Reads, checks, decodes and hashes one image. Does not raise exceptions.

    ``size`` is the height and width of ``pixels``; ``other_sizes`` are those of ``others``. ``fit``
    and ``channels`` are those of ``load_image``.
    """
    unusable = partial(unusable_image, size=size, other_sizes=other_sizes, channels=channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about what is checked here
        try:
            content = _read(sample)
            inputs = [*((each, fit) for each in (size, *other_sizes)), (RECORD_SIZE, "stretch")]
            pixels, *others, whole = load_inputs(io.BytesIO(content), inputs, channels)
            (width, height), remark, capture = _check(sample, content)
        except _UnusableError as error:
            return unusable(str(error))
        except RuntimeProblem as error:
            return unusable(error.problem)
        except OSError as error:
            return unusable(f"cannot be read ({error.strerror or last_line(error)})")
        except Exception as error:  # decoders and Sample.content raise many types
            return unusable(f"cannot be decoded ({last_line(error)})")
    image = Image.fromarray(whole if channels == 3 else whole[..., 0])
    record = np.zeros((), RECORD)
    record["size"] = width, height
    record["capture_time"], record["camera"] = capture
    gray = np.asarray(image.convert("L"), np.float32)
    record["contrast"], record["brightness"] = gray.std(), np.percentile(gray, 99)
    record["file_hash"], record["pixel_hash"] = _sha256(content), _sha256(whole.tobytes())
    bits = imagehash.phash(image, hash_size=HASH_SIDE).hash
    record["perceptual_hash"] = np.packbits(bits).view(np.uint64)
    return DecodedImage(pixels, record, remark=remark, others=tuple(others))


def _sha256(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(content).digest(), np.uint8)


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


def _check(sample: Sample, content: bytes) -> tuple[tuple[int, int], str, tuple[int, int]]:
    """Checks an image that can be decoded.

    Returns:
        Its width and height, a remark, and its capture time and camera.
    """
    with Image.open(io.BytesIO(content), formats=readable_formats()) as image:
        image_format, (width, height) = format_of_image(image), image.size
        capture = read_capture(image)
        # An MPO file is a JPEG file of a phone, with an appended preview or depth map.
        frames = 1 if image.format == "MPO" else _count_frames(image)
    if frames > 1:
        more = " or more" if frames == _MAX_FRAMES else ""
        raise _UnusableError(f"has {frames}{more} frames or pages, expected 1")
    if min(width, height) < MIN_SIDE:
        raise _UnusableError(f"has {width} x {height} pixels, the minimum is {MIN_SIDE} per side")
    if image_format == "JPEG" and not has_end(content):
        raise _UnusableError("is truncated: it has no end marker")
    if image_format == "PNG":
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()  # checks the CRCs and the end of the file, unlike decoding
    # The path of a sample with `content` does not name an image file.
    remark = "" if sample.content else contradiction(sample.path.name, image_format)
    return (width, height), remark, capture


def _count_frames(image: Image.Image) -> int:
    """Counts up to ``_MAX_FRAMES``, without previews of a TIFF page.

    Pillow's ``n_frames`` takes minutes for 300,000 pages.
    """
    frames = 1
    try:
        for page in range(1, _MAX_FRAMES):
            image.seek(page)
            if image.format != "TIFF" or is_further_image(image):
                frames += 1
    except EOFError:
        return frames
    return _MAX_FRAMES

"""One look at a photograph: its bytes are read once, judged, hashed and made into pixels.

What is judged here is whether a file may teach a model. It is stricter than the device runtime,
which makes the best of what it is given: a file that is not what its name says, that moves, or
that is too small to show anything is a mistake of collecting, and one that training would hide.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from dataclasses import dataclass

import imagehash
import numpy as np
from finch_runtime.errors import RuntimeProblem, said_by
from finch_runtime.images import load_image
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.sources.photos import Photo

MIN_SIDE = 8
"""Pixels. Digits of 8 x 8 can be told apart; below that nothing has a shape."""

MAX_BYTES = 256 << 20
"""A compressed photograph is never so large; read whole, a larger file could take all memory."""

HASH_SIDE = 16
"""The perceptual hash has ``HASH_SIDE**2`` bits: 64 do not tell one solar cell from another."""

FLAT = 2.0
"""Grey levels of standard deviation below which an image shows nothing, and its hash is noise."""

_CONTENT_OF = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


@dataclass(frozen=True)
class Seen:
    """A photograph that can be used.

    Attributes:
        pixels: uint8 [size, size, 3], as a device will show it to the model.
        width: Of the file's image, in pixels, before it is turned upright.
        height: Of the same.
        contrast: Standard deviation of the pixels' grey, in levels of 0 ... 255.
        file_hash: SHA-256 of the file's bytes.
        pixel_hash: SHA-256 of ``pixels``: equal for one image saved in two ways without loss.
        look_hash: Perceptual hash of ``pixels``, uint64 [HASH_SIDE**2 / 64].
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    contrast: float
    file_hash: bytes
    pixel_hash: bytes
    look_hash: NDArray[np.uint64]


@dataclass(frozen=True)
class Bad:
    """A photograph that cannot be used, and why."""

    problem: str


def look_at(photo: Photo, size: int, fit: str) -> Seen | Bad:
    """Reads, judges and decodes one photograph; whatever its bytes are, nothing is raised.

    Args:
        photo: What to read.
        size: Side of the pixels made, in pixels.
        fit: ``crop`` or ``stretch`` (see ``Prepare.fit``).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is judged here
        try:
            content = _read(photo)
            pixels = load_image(io.BytesIO(content), size, fit)
            width, height = _judge(photo, content)
        except (RuntimeProblem, _Unfit) as refused:
            return Bad(refused.problem)
        except OSError as error:
            return Bad(f"cannot be read ({error.strerror or said_by(error)})")
        except Exception as error:  # decoders, and the makers of drawn photographs, raise anything
            return Bad(f"cannot be decoded: {said_by(error)}")
    picture = Image.fromarray(pixels)
    bits = imagehash.phash(picture, hash_size=HASH_SIDE).hash
    return Seen(
        pixels=pixels,
        width=width,
        height=height,
        contrast=float(np.asarray(picture.convert("L"), np.float32).std()),
        file_hash=hashlib.sha256(content).digest(),
        pixel_hash=hashlib.sha256(pixels.tobytes()).digest(),
        look_hash=np.packbits(bits).view(np.uint64),
    )


class _Unfit(Exception):
    def __init__(self, problem: str) -> None:
        self.problem = problem


def _read(photo: Photo) -> bytes:
    if photo.content is None:
        about = photo.path.stat()
        # A pipe named like a photograph would be waited for without end.
        if not stat.S_ISREG(about.st_mode):
            raise _Unfit("is not a file")
        if about.st_size > MAX_BYTES:
            raise _Unfit(f"has {about.st_size:,} bytes, more than {MAX_BYTES:,}")
    content = photo.read()
    if not content:
        raise _Unfit("is empty")
    return content


def _judge(photo: Photo, content: bytes) -> tuple[int, int]:
    """Width and height of an image that decodes, if it is a photograph as well."""
    with Image.open(io.BytesIO(content)) as image:
        form, (width, height) = image.format, image.size
        frames = int(getattr(image, "n_frames", 1))
    # Phones put a preview or a depth map behind the photograph (multi-picture JPEG).
    if form == "MPO":
        form, frames = "JPEG", 1
    # The path of a photograph without a file of its own says nothing of its bytes.
    claimed = None if photo.content else _CONTENT_OF.get(photo.path.suffix.lower())
    if claimed and claimed != form:
        raise _Unfit(f"is {form} by content, {claimed} by its suffix")
    if frames > 1:
        raise _Unfit(f"holds {frames} frames or pages, a photograph has one")
    if min(width, height) < MIN_SIDE:
        raise _Unfit(f"has {width} x {height} pixels, each side needs {MIN_SIDE}")
    if form == "PNG":
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # the checksums and the end, which decoding does not look at
    return width, height

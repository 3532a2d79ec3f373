"""When, and with which camera, an image was taken, from its EXIF data."""

from __future__ import annotations

import calendar
import hashlib
import time
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

# Not Base.DateTime, the last change of the file: one day for all images that were edited in one go.
_TIMES = (Base.DateTimeOriginal, Base.DateTimeDigitized)
_CAMERA = (Base.Make, Base.Model, Base.BodySerialNumber)

_FIRST_YEAR = 1990
"""Earlier years come from clocks that were never set; EXIF dates from 1995."""


def read_capture(image: Image.Image) -> tuple[int, int]:
    """Capture time and camera of an opened image; does not decode its pixels.

    The time is that of the original exposure, else of digitization. The camera is told by make,
    model and serial number; many phones write no serial number, so two of one model count as one
    camera.

    Returns:
        The time in seconds since 1970-01-01 00:00 by the clock of the camera, and a hash of the
        camera below 2**64. Each is 0 if it is unknown or if the EXIF data is damaged.
    """
    # Without this, Pillow decodes a PNG file to search for EXIF data behind the pixels.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 0, 0
    try:
        exif = image.getexif()
        tags: dict[int, Any] = {**exif, **exif.get_ifd(IFD.Exif)}
    except Exception:  # Pillow raises many types, and damaged EXIF data harms no image
        return 0, 0
    times = (_seconds(_text(tags.get(tag))) for tag in _TIMES)
    return next(filter(None, times), 0), _hash([_text(tags.get(tag)) for tag in _CAMERA])


def _text(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.strip("\0 ") if isinstance(text, str) else ""


def _seconds(text: str) -> int:
    try:
        moment = time.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return 0
    return calendar.timegm(moment) if moment.tm_year >= _FIRST_YEAR else 0


def _hash(texts: list[str]) -> int:
    if not any(texts):
        return 0
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:8], "little")

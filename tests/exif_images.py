"""Images with EXIF data as cameras write it."""

from __future__ import annotations

from datetime import datetime

from PIL import Image
from PIL.ExifTags import IFD, Base


def exif_of(
    original: datetime | str | None = None,
    *,
    digitized: datetime | str | None = None,
    changed: datetime | str | None = None,
    make: str = "",
    model: str = "",
    serial: str = "",
) -> Image.Exif:
    """EXIF data with the given times, and with texts that are not empty."""
    exif = Image.Exif()
    inner: dict[int, str] = {}
    for tags, tag, value in (
        (inner, Base.DateTimeOriginal, original),
        (inner, Base.DateTimeDigitized, digitized),
        (exif, Base.DateTime, changed),
        (exif, Base.Make, make),
        (exif, Base.Model, model),
        (inner, Base.BodySerialNumber, serial),
    ):
        text = f"{value:%Y:%m:%d %H:%M:%S}" if isinstance(value, datetime) else value
        if text:
            tags[tag] = text
    if inner:
        exif[IFD.Exif] = inner
    # As if read from a file; the TIFF writer needs that.
    written = Image.Exif()
    written.load(exif.tobytes())
    return written

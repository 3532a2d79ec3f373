"""The image formats that are read. Each has Pillow's name."""

from __future__ import annotations

import warnings
from functools import cache

from PIL import Image, features

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".heics", ".heifs", ".hif"),
}
"""All formats with the suffixes of their files.

Pillow detects formats by content, and would pass EPS, which is a program, to Ghostscript. So only
these are tried.
"""

NEEDED = {
    "AVIF": "Pillow 11.3 or newer",
    "HEIF": "the package pillow-heif",
    "JPEG2000": "a build of Pillow with OpenJPEG",
    "WEBP": "a build of Pillow with WebP",
}
"""What is needed to read the formats that not every installation reads."""

_FEATURES = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats that are read with the installed packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older Pillow does not know the feature
        missing = {name for name, feature in _FEATURES.items() if not features.check(feature)}
    try:
        import pillow_heif
    except ImportError:  # also a library of another platform
        missing.add("HEIF")
    else:
        pillow_heif.register_heif_opener(thumbnails=False)
    Image.init()
    return tuple(name for name in SUFFIXES if name not in missing)


def format_of_suffix(suffix: str) -> str | None:
    """The format of files with this suffix, in any case; None if it is not one of ``SUFFIXES``."""
    return _BY_SUFFIX.get(suffix.lower())


_BY_SUFFIX = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}

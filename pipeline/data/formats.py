"""Which files are images that are read, images in other formats, or no images."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Literal

from finch_runtime.content import HEADER, name_image
from finch_runtime.formats import SUFFIXES, format_of_suffix, readable_formats
from PIL import Image

FileKind = Literal["readable", "image", "other"]

_EDITORS_SCREENS_AND_SCIENCES = """
.bpg .cur .dcm .dcx .dds .dib .dicom .djvu .emf .eps .exr .fit .fits .flif .hdp .hdr .icns .ico .jls
.jxl .jxr .mha .mhd .nii .nrrd .pam .pcd .pcx .psb .psd .qoi .ras .rgb .rgba .sgi .svg .svgz .tga
.wdp .wmf .xbm .xcf .xpm
"""
# These have several images, some of a gigapixel.
_WHOLE_SLIDES_AND_STACKS = """
.czi .lif .lsm .mrxs .ndpi .nd2 .scn .svs .vsi
"""
_CAMERA_RAW = """
.3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef
.nrw .orf .pef .ptx .r3d .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f
"""
UNREAD_SUFFIXES = frozenset(
    (_EDITORS_SCREENS_AND_SCIENCES + _WHOLE_SLIDES_AND_STACKS + _CAMERA_RAW).split()
)
"""Suffixes of images in formats that no installation of Finch reads."""


@cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the formats that are read with the installed packages.

    The device runtime reads the same formats.
    """
    return frozenset(suffix for name in readable_formats() for suffix in SUFFIXES[name])


def classify(path: Path) -> FileKind:
    """What a file is, by its suffix, or by its content if the suffix is unknown or missing.

    Args:
        path: A file. It is opened only if its suffix is not one that is read, nor known as one of
            another format.

    Returns:
        ``readable`` for an image that Finch reads, ``image`` for one in a format that it does not
        read, and ``other`` for all other files, such as annotations. Hidden files are ``other``.
    """
    if path.name.startswith("."):
        return "other"
    suffix = path.suffix.lower()
    if suffix in readable_suffixes():
        return "readable"
    if suffix in UNREAD_SUFFIXES:
        return "image"
    kind = _classify_content(path)
    return "image" if kind == "other" and format_of_suffix(suffix) else kind


def _classify_content(path: Path) -> FileKind:
    try:
        if not path.is_file():  # opening a pipe would block
            return "other"
        with path.open("rb") as file:
            name = name_image(file.read(HEADER))
    except OSError:
        return "other"
    if name is not None:
        return "readable" if name in readable_formats() else "image"
    # Formats whose signatures are too short: they may start any text.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=readable_formats()):
                return "readable"
        except Image.DecompressionBombError:
            return "readable"
        except Exception:  # plugins raise arbitrary exceptions on what they do not read
            return "other"

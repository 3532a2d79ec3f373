"""What a file is by its first bytes, whether or not it is read."""

from __future__ import annotations

HEADER = 512
"""The number of bytes that are examined."""

# Signatures at the start. Formats without a distinctive one, such as BMP and TGA, have none here.
_IMAGES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"qoif": "QOI",
    b"P7\n": "PAM",
    b"II\xbc": "JPEG XR",
    b"DDS ": "DDS",
    b"\x00\x00\x01\x00": "ICO",
    b"%!PS": "PostScript",
    b"SIMPLE  =": "FITS",
    b"gimp xcf": "GIMP",
    b"BPG\xfb": "BPG",
    b"AT&TFORM": "DjVu",
    b"IIRO": "camera raw",
    b"IIRS": "camera raw",
    b"MMOR": "camera raw",
    b"IIU\x00": "camera raw",
    b"FUJIFILMCCD-RAW": "camera raw",
}
_OTHERS = {
    b"version https://git-lfs.github.com/": "a Git LFS pointer",
    b"%PDF": "a PDF file",
    b"PK\x03\x04": "a ZIP archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x00\x05\x16\x07": "a macOS AppleDouble file",
    b"\x00\x05\x16\x00": "a macOS AppleDouble file",
    b"\x1a\x45\xdf\xa3": "a video",
}
# "ftyp" boxes of ISO base media files, by brand.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"
    ),
    b"crx ": "camera raw",
}
_REMEDIES = {
    "a Git LFS pointer": "fetch the file with `git lfs pull`",
    "a git-annex pointer": "fetch the file with `git annex get`",
    "a macOS AppleDouble file": "remove it",
    "an HTML page": "download the image again",
}


def name_image(header: bytes) -> str | None:
    """The format of an image, as Pillow names it if it does; None for other or unknown content.

    ``header`` are the first ``HEADER`` bytes of the file.
    """
    if header[4:8] == b"ftyp":
        size = int.from_bytes(header[:4], "big")
        return "AVIF" if b"avif" in header[8:size] else _BRANDS.get(header[8:12])
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[128:132] == b"DICM":
        return "DICOM"
    if _is_svg(header):
        return "SVG"
    return _find(_IMAGES, header)


def name_other(header: bytes) -> str | None:
    """What a file is that is no image; None if that is unknown."""
    if not header:
        return "an empty file"
    if not header.strip(b"\0"):
        return "a file of zeros"
    if b"/annex/objects/" in header.partition(b"\n")[0]:
        return "a git-annex pointer"
    found = _find(_OTHERS, header)
    if found is not None:
        return found
    if header[4:8] == b"ftyp" or (header[:4] == b"RIFF" and header[8:12] == b"AVI "):
        return "a video"
    text = _as_text(header)
    if text.startswith(("<!doctype html", "<html")):
        return "an HTML page"
    if text.startswith("<"):
        return "an XML file"
    if text.startswith(("{", "[")):
        return "a JSON file"
    return "a text file" if text else None


def remedy_for(name: str) -> str:
    """What to do about a file that is no image."""
    return _REMEDIES.get(name, "remove it")


def _find(signatures: dict[bytes, str], header: bytes) -> str | None:
    return next((name for start, name in signatures.items() if header.startswith(start)), None)


def _is_svg(header: bytes) -> bool:
    text = _as_text(header)
    return text.startswith("<svg") or (text.startswith("<?xml") and "<svg" in text)


def _as_text(header: bytes) -> str:
    """The header in lower case without leading blanks; empty if it is not text."""
    try:
        text = header.decode("utf-8", errors="strict" if len(header) < HEADER else "ignore")
    except UnicodeDecodeError:
        return ""
    text = text.lstrip("\ufeff \t\r\n")
    return text.lower() if all(c.isprintable() or c.isspace() for c in text) else ""

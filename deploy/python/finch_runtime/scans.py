"""What the markers of a JPEG file say: its kind, its scans, and whether its end is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator

# In compressed pixels, only a zero or a restart marker follows 0xff.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]", re.DOTALL)
_START, _IMAGE, _END = 0xDA, 0xD8, 0xD9
_JPEG_LS = 0xF7
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_JPEG_LS}


def count_scans(content: bytes) -> int:
    """Counts the scans that a decoder goes through; 0 in a file that is no JPEG."""
    scans = components = 0
    progressive = False
    for marker, place in _markers(content):
        if marker == _START:
            scans += 1
            # A file whose first scan has all components is decoded until the end of that scan.
            if not progressive and content[place + 2 : place + 3] == bytes([components]):
                return scans
        elif marker in _FRAMES:
            progressive = marker & 3 == 2
            components = int.from_bytes(content[place + 7 : place + 8], "big")
    return scans


def has_end(content: bytes) -> bool:
    """Whether there is an end marker.

    Zeros in place of the missing rest of a file can be decoded, and do not show otherwise.
    """
    return any(marker == _END for marker, _ in _markers(content))


def name_kind(content: bytes) -> str:
    """The kind of a JPEG file that usual decoders do not read; empty for others."""
    for marker, place in _markers(content):
        if marker == _JPEG_LS:
            return "JPEG-LS"
        if marker in _LOSSLESS:
            return "lossless JPEG"
        if marker in _FRAMES:
            bits = content[place + 2 : place + 3]
            return f"JPEG with {bits[0]} bits" if bits not in (b"", b"\x08") else ""
    return ""


def _markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields each marker up to the end marker, and the place of what follows it."""
    place = 0
    while True:
        match = _MARKER.search(content, place)
        if match is None:
            return
        place = match.end()
        marker = content[place - 1]
        yield marker, place
        if marker == _END:
            return
        if marker >= 0xC0 and marker != _IMAGE:  # these declare their length
            place += int.from_bytes(content[place : place + 2], "big")

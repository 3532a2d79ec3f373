"""The number of scans of a JPEG file: each one goes over all pixels, however short it is."""

from __future__ import annotations

import re

# In compressed pixels, only a zero or a restart marker follows 0xff.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]", re.DOTALL)
_START, _END, _TABLES = 0xDA, 0xD9, (0xC4, 0xC8, 0xCC)


def count_scans(content: bytes) -> int:
    """Counts the scans that a decoder goes through; 0 in a file that is no JPEG."""
    scans = place = components = 0
    progressive = False
    while True:
        match = _MARKER.search(content, place)
        if match is None:
            return scans
        place = match.end()
        marker = content[place - 1]
        if marker == _END:
            return scans
        if marker == _START:
            scans += 1
            # A file whose first scan has all components is decoded until the end of that scan.
            if not progressive and content[place + 2 : place + 3] == bytes([components]):
                return scans
        elif 0xC0 <= marker <= 0xCF and marker not in _TABLES:
            progressive = marker & 3 == 2
            components = int.from_bytes(content[place + 7 : place + 8], "big")
        if marker >= 0xC0 and marker != 0xD8:  # these declare their length
            place += int.from_bytes(content[place : place + 2], "big")

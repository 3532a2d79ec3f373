"""Names of files as text, whatever the encoding of the locale."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def decode_name(path: str | Path) -> str:
    """A path as UTF-8 text; bytes that are not UTF-8 become surrogates.

    Python decodes names with the encoding of the locale. In a Latin-1 locale ``ü`` becomes two
    characters, and the inference runtimes, which encode names as UTF-8, would not find the file.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return str(path)
    return os.fsencode(path).decode("utf-8", "surrogateescape")

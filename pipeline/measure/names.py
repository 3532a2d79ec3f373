"""Texts without the folders of the machine that they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# An absolute path, also in a home folder: not a part of a word, a relative path or an address.
_PATH = re.compile(r"(?<![\w.~/-])(?:~|[A-Za-z]:)?(?:/[^\s/:;,'\"()\[\]<>]+)+/?")


def without_folders(text: str, known: Iterable[Path] = ()) -> str:
    """Replaces absolute paths by the names of their files.

    Results are stored and shown elsewhere, where the folders and the user name in them mean nothing
    and should not be known.

    Args:
        text: A message.
        known: Folders that may occur in the text; needed if their names contain spaces.
    """
    folders = sorted((str(folder) for folder in known), key=len, reverse=True)
    for folder in folders:
        if len(folder) > 1:
            text = text.replace(f"{folder}/", "/")
    return _PATH.sub(lambda path: path[0].rstrip("/").rpartition("/")[2], text)

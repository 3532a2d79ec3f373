"""The images that a command line names: files, folders, and ``-`` for standard input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from finch_runtime.errors import RuntimeProblem
from finch_runtime.formats import format_of_suffix

STDIN = "-"


def find_photos(names: Sequence[str]) -> list[str]:
    """The names, with the image files in and below it in place of each folder, sorted.

    Files are told by their suffix; hidden files and folders are passed over. A folder without
    images stays, and ``load_image`` refuses it.
    """
    return [photo for name in names for photo in sorted(_walk(name)) or [name]]


def _walk(folder: str) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for file in files:
            if not file.startswith(".") and format_of_suffix(Path(file).suffix):
                yield os.path.join(path, file)  # noqa: PTH118, keeps `./` of the command line


def open_photo(name: str) -> str | BinaryIO:
    """What ``load_image`` reads for a name: the path, or the whole of standard input.

    Raises:
        RuntimeProblem: Standard input is closed or empty.
    """
    if name != STDIN:
        return name
    content = sys.stdin.buffer.read() if sys.stdin else b""
    if not content:
        raise RuntimeProblem("standard input", "is empty", "pipe an image into it, or pass a file")
    return io.BytesIO(content)

"""Images in a file, read when they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from finch_runtime.errors import RuntimeProblem
from finch_runtime.runtimes import Array


class Images(Protocol):
    """Images, uint8 [n, height, width, channels]: an array, or rows of a file."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: slice | Array) -> Array:
        """The images of a slice or of integer indices."""


class Rows:
    """The rows of an array in a file.

    The system counts the pages of a memory map that were read as memory of the process, so its
    peak would grow with the number of images instead of showing what the model needs.

    Args:
        path: The file; it stays open.
        offset: Where the first row begins, in bytes.
        shape: Shape of the array; its dtype is uint8.
    """

    def __init__(self, path: Path, offset: int, shape: Sequence[int]) -> None:
        self._path, self._offset, self._shape = path, offset, tuple(shape)
        self._file = path.open("rb")

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: slice | Array) -> Array:
        """Reads the rows of a slice or of integer indices.

        Raises:
            RuntimeProblem: The file has become shorter, or cannot be read.
        """
        numbers = np.arange(len(self))[index]
        rows = np.empty((len(numbers), *self._shape[1:]), np.uint8)
        size = math.prod(self._shape[1:])
        for row, number in zip(rows, numbers.tolist()):  # noqa: B905, strict needs Python 3.10
            try:
                self._file.seek(self._offset + number * size)
                count = self._file.readinto(memoryview(row).cast("B"))
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
                raise RuntimeProblem(self._path, problem, "check the disk") from None
            if count != size:
                problem = "became shorter while it was read"
                raise RuntimeProblem(self._path, problem, "write it again")
        return rows

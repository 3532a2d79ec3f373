"""Readers for the tables of published data sets, with errors that name the file."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.data.sources.base import SplitName, read_text
from pipeline.errors import DataError

TRAIN_AND_TEST: tuple[SplitName, ...] = ("train", "test")

_REMEDY = "put the published files under prepare.path"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Non-blank lines, stripped, each with its line number.

    Raises:
        DataError: The file cannot be read, or is not UTF-8.
    """
    lines = enumerate(read_text(path, _REMEDY).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_columns(path: Path, columns: int, separator: str | None = None) -> list[list[str]]:
    """Rows of a table without quoting; the last column is the rest of the line.

    Without a separator, columns are separated by whitespace.

    Raises:
        DataError: The file cannot be read, or a row has fewer columns.
    """
    rows = []
    for number, line in read_lines(path):
        row = line.split(separator, columns - 1)
        if len(row) != columns:
            raise DataError(f"{path}, line {number}", f"{line!r} does not have {columns} columns")
        rows.append(row)
    return rows


def check_regular(path: Path) -> None:
    """Refuses a pipe or a device, which could be read for ever.

    Raises:
        DataError: ``path``, or a file below it, is neither a file nor a folder.
    """
    below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for each in itertools.chain([path], below):
        with contextlib.suppress(OSError):  # a missing file gets its message from the reader
            mode = each.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise DataError(each, "is not a regular file", _REMEDY)


def read_matlab(path: Path, *names: str) -> list[Any]:
    """Variables of a MATLAB file.

    Raises:
        DataError: The file cannot be read, or lacks a variable.
    """
    import scipy.io

    check_regular(path)
    try:
        variables = scipy.io.loadmat(path, squeeze_me=True, variable_names=names)
        return [variables[name] for name in names]
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})", _REMEDY) from None
    except KeyError as error:
        raise DataError(path, f"has no variable {error}", _REMEDY) from None
    except Exception as error:  # scipy raises many types for damaged files
        raise DataError(path, f"is not a MATLAB file ({error})", _REMEDY) from None


def parse_index(text: str, first: int, count: int, where: object) -> int:
    """Converts a published number that counts from ``first`` to an index from 0.

    Raises:
        DataError: ``text`` is not an integer from ``first`` to ``first + count - 1``.
    """
    index = int(text) - first if text.isdecimal() else -1
    if not 0 <= index < count:
        raise DataError(where, f"{text!r} is not a number from {first} to {first + count - 1}")
    return index


def order_classes(
    numbered: Iterable[tuple[str, str]], first: int, where: object
) -> tuple[str, ...]:
    """Class names in the order of their published numbers, from pairs of number and name.

    Raises:
        DataError: The numbers are not consecutive from ``first``.
    """
    names = {parse_index(number, 0, 10**6, where): name for number, name in numbered}
    if sorted(names) != list(range(first, first + len(names))):
        raise DataError(where, f"class numbers are not consecutive from {first}", _REMEDY)
    return tuple(names[number] for number in sorted(names))

"""Reading the tables of published sets, so that every fault in them names the file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import DataError

_REMEDY = "prepare.path must hold the published files; fetch them again"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, each with its number.

    Raises:
        DataError: The file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", _REMEDY) from None
    except UnicodeDecodeError:
        raise DataError(path, "is not UTF-8 text", _REMEDY) from None
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_columns(path: Path, columns: int, separator: str | None = None) -> list[list[str]]:
    """The rows of a table without quotes; the last column takes the rest of the line.

    Args:
        path: The table, one row a line.
        columns: How many there are.
        separator: What stands between them; None is any white space.

    Raises:
        DataError: The file cannot be read, or a row has fewer columns.
    """
    rows = []
    for number, line in read_lines(path):
        row = line.split(separator, columns - 1)
        if len(row) != columns:
            raise DataError(
                f"{path}, line {number}", f"{line!r} has not the {columns} published columns"
            )
        rows.append(row)
    return rows


def read_matlab(path: Path, *names: str) -> list[Any]:
    """The named variables of a MATLAB file, which holds data only and no code.

    Raises:
        DataError: The file cannot be read, or lacks a variable.
    """
    import scipy.io

    try:
        variables = scipy.io.loadmat(path, squeeze_me=True, variable_names=names)
        return [variables[name] for name in names]
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})", _REMEDY) from None
    except KeyError as error:
        raise DataError(path, f"holds no {error}, as published", _REMEDY) from None
    except Exception as error:  # scipy lets out whatever a damaged file causes
        raise DataError(path, f"is no MATLAB file ({error})", _REMEDY) from None


def index_of(text: str, first: int, count: int, where: object) -> int:
    """A published number that counts from ``first``, as an index from 0.

    Raises:
        DataError: It is no number, or not one of ``count``.
    """
    index = int(text) - first if text.isdecimal() else -1
    if not 0 <= index < count:
        raise DataError(where, f"{text!r} is not a number from {first} to {first + count - 1}")
    return index


def inside(name: str, where: object) -> str:
    """The name of a file, refused when it leads out of the data set's folder.

    Raises:
        DataError: It is absolute or climbs up.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(where, f"{name!r} leads out of the data set's folder")
    return name

"""Reads tables as spreadsheets and data sharing sites write them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources.base import read_bytes
from pipeline.data.sources.label_cells import find_one_hot
from pipeline.data.sources.quoting import quoted
from pipeline.errors import DataError, ParameterError

_SEPARATORS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",  # "CSV UTF-8" of Excel
    b"\xff\xfe": "utf-16",  # "Unicode Text" of Excel
    b"\xfe\xff": "utf-16",
}
_BINARY = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
}
_REMEDY = "set prepare.path to the table, saved as CSV UTF-8"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        line: Number of its last line.
        cells: Its values by the key of their column, stripped; an empty text if there is none.
    """

    line: int
    cells: dict[str, str]


def read_table(
    path: Path, columns: Mapping[str, str], optional: Collection[str], encoding: str
) -> list[Row]:
    """Reads the rows that are not blank. The separator is a comma, a semicolon, a tab or a pipe.

    Args:
        path: The file.
        columns: Names of the columns by key; the name is ``prepare.csv.<key>_column``. If no column
            has exactly this name, one that differs in case is taken.
        optional: The keys of the columns that may be missing.
        encoding: Encoding of a file without a byte order mark.

    Raises:
        DataError: The file cannot be read or decoded, lacks a column or has it twice, has no rows,
            or a row has more cells than the header.
        ParameterError: ``encoding`` is unknown.
    """
    text = _decode(path, encoding)
    # Excel writes a first line that names the separator.
    stated = re.match(r'"?sep=([,;|\t])"?\s*\n', text, re.IGNORECASE)
    separators = (stated[1],) if stated else _SEPARATORS
    first_line = 2 if stated else 1
    body = text[stated.end() :] if stated else text
    headers = {each: _read_header(path, body, each) for each in separators}
    required = [name for key, name in columns.items() if key not in optional]
    # The separator is the one with which the header has most of the wanted columns.
    separator = max(
        headers,
        key=lambda each: (
            sum(bool(_places(headers[each], name)) for name in required),
            len(headers[each]),
        ),
    )
    header = headers[separator]
    if not any(header):
        raise DataError(path, "is empty", "write a header line, and a line per image")
    records = list(_records(path, body, separator, first_line))[1:]
    places: dict[str, int] = {}
    for key, name in columns.items():
        found = _places(header, name)
        if len(found) > 1:
            raise DataError(path, f"has {len(found)} columns {name!r}", "rename all but one")
        if found:
            places[key] = found[0]
        elif key not in optional:
            problem = f"has no column {name!r}"
            remedy = f"set prepare.csv.{key}_column to one of those in its header, "
            remedy += quoted(header, 20)
            if key == "label" and (labels := find_one_hot(header, [cells for _, cells in records])):
                problem += f", but one column per label ({quoted(labels)})"
                remedy = "write the labels into one column, whose name is prepare.csv.label_column"
            raise DataError(path, problem, remedy)
    rows = []
    for number, record in records:
        if record == header:
            raise DataError(f"{path}, line {number}", "repeats the header", "remove the line")
        if any(record[len(header) :]):
            problem = f"has {len(record)} cells, but the header has {len(header)}"
            remedy = f"put quotes around values that contain {separator!r}"
            raise DataError(f"{path}, line {number}", problem, remedy)
        cells = {key: record[at] if at < len(record) else "" for key, at in places.items()}
        rows.append(Row(number, dict.fromkeys(columns, "") | cells))
    rows = [row for row in rows if any(row.cells.values())]
    if not rows:
        raise DataError(path, "has no rows below its header", "write a line per image")
    return rows


def _decode(path: Path, encoding: str) -> str:
    content = read_bytes(path, _REMEDY)
    for magic, kind in _BINARY.items():
        if content.startswith(magic):
            raise DataError(path, f"is {kind}, not a text file", _REMEDY)
    by_mark = [each for mark, each in _BYTE_ORDER_MARKS.items() if content.startswith(mark)]
    try:
        text = content.decode(*by_mark or [encoding])
    except LookupError:
        problem = f"{encoding!r} is not an encoding that Python knows"
        raise ParameterError("prepare.csv.encoding", problem, "use utf-8 or cp1252") from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        where = f"{path}, line {content.count(10, 0, start) + 1}"
        problem = f"is not {by_mark[0] if by_mark else encoding.upper()} text"
        remedy = "save it as CSV UTF-8, or set prepare.csv.encoding"
        if not by_mark and encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            remedy += ", which is cp1252 for most files of Excel in Western Europe and America"
        raise DataError(where, problem, remedy) from None
    text = text.rstrip("\0\x1a")  # padding, and the end of file of DOS
    if "\0" in text:
        remedy = "save it as CSV UTF-8, or set prepare.csv.encoding to utf-16-le"
        raise DataError(path, f"contains NUL characters when read as {encoding.upper()}", remedy)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_header(path: Path, text: str, separator: str) -> list[str]:
    try:
        return next((record for _, record in _records(path, text, separator)), [])
    except DataError:  # an error in the quotes; another separator may fit
        return []


def _records(
    path: Path, text: str, separator: str, first_line: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the number of its last line."""
    # Without skipinitialspace, the quotes of `a, "b"` would be part of the value.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield reader.line_num + first_line - 1, cells
    except csv.Error as error:
        where = f"{path}, line {reader.line_num + first_line - 1}"
        raise DataError(where, f"is not CSV ({error})", "correct the quotes") from None


def _places(header: list[str], name: str) -> list[int]:
    exact = [index for index, each in enumerate(header) if each == name]
    folded = name.casefold()
    return exact or [index for index, each in enumerate(header) if each.casefold() == folded]

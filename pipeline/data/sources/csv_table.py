"""A table of photographs: ``path`` and ``label``, and optionally ``split`` and ``group``."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.data.sources.checks import is_file
from pipeline.data.sources.photos import SPLITS, Photo, Source
from pipeline.errors import DataError

_COLUMNS = ("path", "label", "split", "group")


def read_csv(table: Path) -> Source:
    """Lists the photographs of a CSV file with a header, in its order, classes by name.

    Paths are relative to the file's folder. ``split`` is train, val or test in every row or in
    none. Rows with the same ``group`` stay in one split; an empty one is no group. Other columns
    are passed over.

    Raises:
        DataError: The file is not UTF-8 or not CSV; a column is missing; a row has no label, a
            split that is none, a path that leaves the folder, is not there or occurs twice.
    """
    rows = _rows(table)
    classes = tuple(sorted({row["label"] for _, row in rows}))
    labels = {name: label for label, name in enumerate(classes)}
    with_split = any(row["split"] for _, row in rows)
    seen: dict[str, int] = {}
    photos = []
    for number, row in rows:
        where = f"{table}, line {number}"
        name = _checked_name(row["path"], table.parent, where)
        if not row["label"]:
            raise DataError(where, f"{name!r} has no label", "name its class, or remove the row")
        if seen.setdefault(name, number) != number:
            raise DataError(
                where, f"{name!r} is already on line {seen[name]}", "remove one of the rows"
            )
        split = next((split for split in SPLITS if split == row["split"]), None)
        if split is None and with_split:
            raise DataError(
                where,
                f"split {row['split']!r} is none of {', '.join(SPLITS)}",
                "give every row one of them, or none",
            )
        photos.append(
            Photo(table.parent / name, name, labels[row["label"]], split, row["group"] or None)
        )
    return Source("csv", classes, tuple(photos), licence="not stated", origin=table.name)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows that are not blank, stripped, each with the number of the line where it ends."""
    try:
        # Excel writes a byte order mark, which is no part of the first column's name.
        text = table.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            table, f"cannot be read ({error.strerror})", "set prepare.path to the CSV file"
        ) from None
    except UnicodeDecodeError:
        raise DataError(table, "is not UTF-8 text", "save it as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restval="")
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        for needed in ("path", "label"):
            if needed not in header:
                raise DataError(
                    table, f"has no column {needed!r}", "begin it with the line `path,label`"
                )
        reader.fieldnames = header
        rows = [
            (reader.line_num, {name: (row.get(name) or "").strip() for name in _COLUMNS})
            for row in reader
        ]
    except csv.Error as error:
        line = reader.reader.line_num
        raise DataError(f"{table}, line {line}", f"is not CSV ({error})") from None
    return [(number, row) for number, row in rows if any(row.values())]


def _checked_name(name: str, folder: Path, where: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise DataError(
            where, f"{name!r} leads out of the table's folder", "use paths below it, without `..`"
        )
    if not is_file(folder / path):
        raise DataError(where, f"{name!r} is not there", "correct the path, or remove the row")
    # So that a/./b.png and a//b.png are one photograph.
    return path.as_posix()

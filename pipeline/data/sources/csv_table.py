"""A CSV table of images."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.data.sources.base import SPLITS, DataSource, Listing, Sample, is_file, read_text
from pipeline.errors import DataError
from pipeline.plugins import SOURCES

_COLUMNS = ("path", "label", "split", "group")


@SOURCES.register("csv")
class CSVTable(DataSource):
    """A UTF-8 CSV file with the columns ``path`` and ``label``, optionally ``split`` and ``group``.

    Paths are relative to the file's folder. ``split`` is train, val or test in every row or in
    none. Rows with the same ``group`` are kept in one split. Other columns are ignored.
    """

    path_kind = "table"
    requires_all_classes = True

    def read(self, path: Path) -> Listing:
        """Reads the rows in their order; classes are sorted by name.

        Raises:
            DataError: The file is not UTF-8 or not CSV, or lacks a column; a row has no label, an
                invalid split, or a path that is missing, duplicate or outside the folder.
        """
        rows = _read_rows(path)
        classes = sorted({row["label"] for _, row in rows})
        labels = {name: label for label, name in enumerate(classes)}
        has_splits = any(row["split"] for _, row in rows)
        line_of: dict[str, int] = {}
        samples = []
        for number, row in rows:
            where = f"{path}, line {number}"
            name = _checked_name(row["path"], path.parent, where)
            if not row["label"]:
                raise DataError(where, f"{name!r} has no label", "add one, or remove the row")
            if line_of.setdefault(name, number) != number:
                problem = f"{name!r} is already on line {line_of[name]}"
                raise DataError(where, problem, "remove one row")
            split = next((split for split in SPLITS if split == row["split"]), None)
            if split is None and has_splits:
                problem = f"split {row['split']!r} is not one of {', '.join(SPLITS)}"
                raise DataError(where, problem, "set it in every row, or in none")
            group = row["group"] or None
            samples.append(Sample(path.parent / name, name, labels[row["label"]], split, group))
        return Listing(classes, samples)


def _read_rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Non-blank rows with stripped values, each with the number of its last line."""
    remedy = "set prepare.path to the CSV file, saved as UTF-8"
    text = read_text(table, remedy, "utf-8-sig")  # Excel writes a byte order mark
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restval="")
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        for column in ("path", "label"):
            if column not in header:
                remedy = "make `path,label` the first line"
                raise DataError(table, f"has no column {column!r}", remedy)
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
    """The path in normal form, so that ``a/./b.png`` and ``a//b.png`` are one image."""
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise DataError(where, f"{name!r} is outside the table's folder", "use paths below it")
    if not is_file(folder / path):
        raise DataError(where, f"{name!r} is missing", "correct the path, or remove the row")
    return path.as_posix()

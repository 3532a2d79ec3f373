"""A CSV table of images."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

from pipeline.data.sources.base import NO_LABEL, DataSource, Listing, Sample, SplitName
from pipeline.data.sources.delimited_table import Row, read_table
from pipeline.data.sources.label_cells import MISSING, check_labels, describe_lists
from pipeline.data.sources.listed_files import ListedFiles
from pipeline.data.sources.split_names import split_of
from pipeline.errors import DataError, ParameterError
from pipeline.plugins import SOURCES
from pipeline.plugins.section import LocalText

_OPTIONAL = {"split": "split", "group": "group"}


@SOURCES.register("csv")
class CSVTable(DataSource):
    """A CSV file with the columns ``path`` and ``label``, optionally ``split`` and ``group``.

    Values are separated by commas, semicolons, tabs or pipes. ``split`` is a name of a split in
    every row or in none. Rows with the same ``group`` are kept in one split. Other columns are
    ignored.

    Args:
        path_column: Name of the column with the paths of the images.
        label_column: Name of the column with the class names.
        split_column: Name of the column with the splits, if any.
        group_column: Name of the column with the groups, if any.
        root: Folder that paths are relative to, absolute or relative to the table's folder, which
            is the default.
        encoding: Encoding of the table. A byte order mark takes precedence.
        empty_labels: Rows with an empty label: `fail`, or `unlabelled` for images without labels
            (docs/unlabelled.md).
    """

    path_kind = "table"
    comparable_splits = False

    def __init__(
        self,
        *,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str = "split",
        group_column: str = "group",
        root: LocalText | None = None,
        encoding: str = "utf-8",
        empty_labels: Literal["fail", "unlabelled"] = "fail",
    ) -> None:
        self.columns = {
            "path": path_column,
            "label": label_column,
            "split": split_column,
            "group": group_column,
        }
        self.root = root
        self.encoding = encoding
        self.empty_labels = empty_labels

    def read(self, path: Path) -> Listing:
        """Reads the rows in their order; classes are sorted by name.

        Raises:
            DataError: The file is not a table, or lacks a column; a row has no label, an unknown
                split, or a path that is missing, duplicate or outside of the folder; or a row of
                the validation or test split is to be an image without a label.
            ParameterError: The folder or the encoding of the parameters does not exist.
        """
        # A column that a parameter names must exist.
        optional = {key for key, name in _OPTIONAL.items() if self.columns[key] == name}
        rows = read_table(path, self.columns, optional, self.encoding)
        root = path.parent / Path(self.root or "").expanduser()
        if not root.is_dir():
            remedy = "set it to the folder that the paths are relative to"
            raise ParameterError("prepare.csv.root", f"{str(root)!r} is not a folder", remedy)
        files = ListedFiles(root)
        found = list(zip(_find_all(files, rows, path), rows, strict=True))
        listed = {name for name, _ in found}
        unlabelled: list[Sample] = []
        if self.empty_labels == "unlabelled":
            unlabelled = _without_label(root, found, path)
            found = [(name, row) for name, row in found if row.cells["label"]]
        names, rows = [name for name, _ in found], [row for _, row in found]
        label_names = [_label(row, path) for row in rows]
        classes = sorted(set(label_names))
        check_labels(classes, path)
        labels = {name: label for label, name in enumerate(classes)}
        splits = _splits(rows, path)
        samples = [
            Sample(root / name, name, labels[label], split, row.cells["group"] or None)
            for name, label, split, row in zip(names, label_names, splits, rows, strict=True)
        ]
        remarks = [*files.remarks, *describe_lists(classes)]
        if unlisted := files.count_unlisted(listed):
            remarks.append(
                f"images beside those of the table that are in none of its rows: {unlisted}"
            )
        return Listing(classes, samples, remarks=remarks, unlabelled=unlabelled)


def _where(table: Path, row: Row) -> str:
    return f"{table}, line {row.line}"


def _find_all(files: ListedFiles, rows: list[Row], table: Path) -> list[str]:
    """The names of the files of all rows, relative to the root."""
    errors: list[DataError] = []
    line_of: dict[str, int] = {}
    for row in rows:
        where = _where(table, row)
        try:
            name = files.find(row.cells["path"], where).as_posix()
        except DataError as error:
            errors.append(error)
            continue
        if line_of.setdefault(name, row.line) != row.line:
            problem = f"{name!r} is already on line {line_of[name]}"
            raise DataError(where, problem, "remove one row")
    if errors:
        first, more = errors[0], len(errors) - 1
        problem = first.problem + (f" (and {more} of {len(rows)} rows alike)" if more else "")
        raise DataError(first.thing, problem, first.remedy)
    return list(line_of)


def _without_label(root: Path, found: list[tuple[str, Row]], table: Path) -> list[Sample]:
    """The images of the rows with an empty label."""
    samples = []
    for name, row in found:
        if row.cells["label"]:
            continue
        if (split := split_of(row.cells["split"])) in ("val", "test"):
            problem = f"{row.cells['path']!r} has no label, but is in split {split!r}"
            raise DataError(_where(table, row), problem, "add a label, or remove the split")
        samples.append(Sample(root / name, name, NO_LABEL))
    return samples


def _label(row: Row, table: Path) -> str:
    label = row.cells["label"]
    if label.lower() in MISSING:
        problem = f"{row.cells['path']!r} has no label" + (f" but {label!r}" if label else "")
        raise DataError(_where(table, row), problem, "add one, or remove the row")
    return unicodedata.normalize("NFC", label)


def _splits(rows: list[Row], table: Path) -> list[SplitName | None]:
    """The split of every row; all are None if no row has one."""
    splits = [split_of(row.cells["split"]) for row in rows]
    if any(row.cells["split"] for row in rows):
        for row, split in zip(rows, splits, strict=True):
            if split is None:
                problem = f"split {row.cells['split']!r} is not a name of train, val or test"
                remedy = "set it in every row, or in none"
                raise DataError(_where(table, row), problem, remedy)
    return splits

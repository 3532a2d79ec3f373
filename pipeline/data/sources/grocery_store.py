"""The Grocery Store Dataset in its published layout.

Klasson, Zhang, Kjellström, "A Hierarchical Grocery Store Image Dataset with Visual and Semantic
Labels", WACV 2019; MIT licence. ``classes.csv`` names the classes; rows of ``train.txt``,
``val.txt`` and ``test.txt`` are ``path, fine label, coarse label``.
"""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.data.sources.checks import is_file
from pipeline.data.sources.photos import SPLITS, Photo, Source
from pipeline.data.sources.published import inside, read_lines
from pipeline.errors import DataError


def read_grocery_store(folder: Path) -> Source:
    """Lists the photographs with their 81 fine labels and published splits.

    Raises:
        DataError: A file of the layout is missing, a row is malformed, leaves the folder, or
            names a label that ``classes.csv`` does not.
    """
    classes = _read_classes(folder / "classes.csv")
    photos = []
    for split in SPLITS:
        table = folder / f"{split}.txt"
        for number, line in read_lines(table):
            where = f"{table}, line {number}"
            fields = [field.strip() for field in line.split(",")]
            if len(fields) != 3 or not fields[1].isdecimal():
                raise DataError(where, f"{line!r} is not `path, fine label, coarse label`")
            name, label = fields[0], int(fields[1])
            if label >= len(classes):
                raise DataError(where, f"label {label} is not in classes.csv")
            if not is_file(folder / inside(name, where)):
                raise DataError(where, f"{name!r} is not there", "fetch the data set again")
            photos.append(Photo(folder / name, name, label, split))
    return Source(
        name="grocery_store",
        classes=classes,
        photos=tuple(photos),
        licence="MIT",
        origin="https://github.com/marcusklasson/GroceryStoreDataset",
    )


def _read_classes(path: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for number, line in read_lines(path)[1:]:
        row = next(csv.reader([line]))
        if len(row) < 2 or not row[1].strip().isdecimal():
            raise DataError(f"{path}, line {number}", f"{row!r} is not `class name, class id, …`")
        if int(row[1]) in names:
            raise DataError(f"{path}, line {number}", f"class id {int(row[1])} occurs twice")
        names[int(row[1])] = row[0].strip()
    if sorted(names) != list(range(len(names))):
        raise DataError(path, "the class ids do not run from 0 without a gap")
    return tuple(names[i] for i in range(len(names)))

"""The Grocery Store Dataset in its published layout."""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.data.sources.base import SPLITS, DataSource, Listing, Sample, is_file
from pipeline.data.sources.published_files import order_classes, read_lines, safe_name
from pipeline.errors import DataError
from pipeline.plugins import SOURCES


@SOURCES.register("grocery_store")
class GroceryStore(DataSource):
    """Images of 81 products (Klasson, Zhang, Kjellström, WACV 2019), with train, val and test.

    ``classes.csv`` has the class names. Rows of ``train.txt``, ``val.txt`` and ``test.txt`` are
    ``path, fine label, coarse label``.
    """

    license = "MIT"
    origin = "https://github.com/marcusklasson/GroceryStoreDataset"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``GroceryStoreDataset/dataset``, with fine labels."""
        classes = _read_classes(path / "classes.csv")
        samples = []
        for split in SPLITS:
            table = path / f"{split}.txt"
            for number, line in read_lines(table):
                where = f"{table}, line {number}"
                fields = [field.strip() for field in line.split(",")]
                if len(fields) != 3 or not fields[1].isdecimal():
                    raise DataError(where, f"{line!r} is not `path, fine label, coarse label`")
                name, label = safe_name(fields[0], where), int(fields[1])
                if label >= len(classes):
                    raise DataError(where, f"label {label} is not in classes.csv")
                if not is_file(path / name):
                    raise DataError(where, f"{name!r} is missing", "fetch the data set again")
                samples.append(Sample(path / name, name, label, split))
        return classes, samples


def _read_classes(table: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for number, line in read_lines(table)[1:]:
        where, row = f"{table}, line {number}", next(csv.reader([line]))
        if len(row) < 2 or not row[1].strip().isdecimal():
            raise DataError(where, f"{row!r} is not `class name, class id, …`")
        if int(row[1]) in names:
            raise DataError(where, f"class id {int(row[1])} occurs twice")
        names[int(row[1])] = row[0].strip()
    return order_classes(names, 0, table)

"""Checks that apply to every data source."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.sources.base import SPLITS, ImageDataset
from pipeline.errors import DataError


def check_dataset(dataset: ImageDataset) -> None:
    """Checks classes, names and files.

    Raises:
        DataError: There are fewer than two classes; a class has no images; two class names differ
            only in case; a name is not UTF-8; a file is missing.
    """
    where = f"source {dataset.name!r}"
    by_folded_name: dict[str, str] = {}
    for name in dataset.classes:
        _check_utf8(where, name)
        other = by_folded_name.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                where, f"classes {other!r} and {name!r} differ only in case", "rename one"
            )
    labels = [sample.label for sample in dataset.samples]
    for label in np.flatnonzero(np.bincount(labels, minlength=len(dataset.classes)) == 0):
        raise DataError(f"class {dataset.classes[label]!r}", "has no images", "add some or drop it")
    if len(dataset.classes) < 2:
        raise DataError(
            where,
            f"has {len(dataset.classes)} class, at least 2 are needed",
            "set prepare.path to the folder that contains the class folders",
        )
    for sample in dataset.samples:
        _check_utf8(where, sample.name)
        if sample.content is None and not is_file(sample.path):
            raise DataError(sample.path, "is not a file", "restore it, or fetch the data set again")


def check_split_classes(dataset: ImageDataset, path: Path) -> None:
    """Checks that every published split contains every class.

    Raises:
        DataError: A split lacks a class.
    """
    for split in SPLITS:
        present = {sample.label for sample in dataset.samples if sample.split == split}
        missing = [name for label, name in enumerate(dataset.classes) if label not in present]
        if present and missing:
            raise DataError(path, f"split {split!r} lacks class {missing[0]!r}", "add images of it")


def is_file(path: Path) -> bool:
    """``Path.is_file``, but False instead of an error for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_utf8(where: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python reads such names, but cannot write them to names.txt
        raise DataError(where, f"the name {name!r} is not UTF-8", "rename it") from None

"""What no source may deliver, whatever its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.sources.photos import SPLITS, Source
from pipeline.errors import DataError


def refuse_unusable(source: Source) -> None:
    """Checks classes, names and files.

    Raises:
        DataError: There is but one class; a class has no photographs; two classes differ only in
            case; a name is not UTF-8; a file is not there.
    """
    seen: dict[str, str] = {}
    for name in source.classes:
        _refuse_undecodable(source, name)
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise DataError(
                f"source {source.name!r}",
                f"classes {twin!r} and {name!r} differ only in case",
                "rename one of them",
            )
    counts = np.bincount([photo.label for photo in source.photos], minlength=len(source.classes))
    for label in np.flatnonzero(counts == 0):
        raise DataError(
            f"class {source.classes[label]!r}", "has no photographs", "add some, or remove it"
        )
    if len(source.classes) < 2:
        raise DataError(
            f"source {source.name!r}",
            f"has {len(source.classes)} class, a classifier needs two",
            "point prepare.path at the folder that holds the class folders",
        )
    for photo in source.photos:
        _refuse_undecodable(source, photo.name)
        if photo.content is None and not is_file(photo.path):
            raise DataError(photo.path, "is no file", "put it back, or fetch the data set again")


def is_file(path: Path) -> bool:
    """Whether there is such a file; unlike pathlib also for names that no file could have."""
    try:
        return path.is_file()
    except OSError:
        return False


def refuse_missing_classes(source: Source, where: Path) -> None:
    """Checks that every split of the source's own has every class.

    Raises:
        DataError: One lacks a class.
    """
    for split in SPLITS:
        present = {photo.label for photo in source.photos if photo.split == split}
        missing = [name for label, name in enumerate(source.classes) if label not in present]
        if present and missing:
            raise DataError(
                where, f"split {split!r} lacks class {missing[0]!r}", "add photographs of it"
            )


def _refuse_undecodable(source: Source, name: str) -> None:
    # Python reads such names all the same, but they cannot be written to a list of names.
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"source {source.name!r}", f"the name {name!r} is not UTF-8", "rename it"
        ) from None

"""One folder per class, with or without split folders above them."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.data.sources.photos import SPLITS, Photo, Source, SplitName
from pipeline.errors import DataError

_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_folder(folder: Path) -> Source:
    """Lists ``folder/<class>/**`` or ``folder/<split>/<class>/**``, classes by name.

    Files that are no images by their suffix, and hidden ones, are passed over.

    Raises:
        DataError: There are no class folders; a split lacks a class; two classes differ only in
            case; a name is not UTF-8.
    """
    tops = _subfolders(folder)
    split_of = {top: _SPLIT_NAMES.get(top.name.lower()) for top in tops}
    has_splits = bool(tops) and all(split_of.values())
    trees: list[tuple[SplitName | None, Path]] = (
        [(split_of[top], top) for top in tops] if has_splits else [(None, folder)]
    )
    names_of = {tree: {f.name for f in _subfolders(tree)} for _, tree in trees}
    classes = tuple(sorted(set().union(*names_of.values())))
    if not classes:
        raise DataError(folder, "holds no class folders", "make one folder of photographs a class")
    _refuse_case_twins(folder, classes)
    for split, tree in trees:
        missing = sorted(set(classes) - names_of[tree])
        if missing:
            raise DataError(tree, f"split {split!r} lacks class {missing[0]!r}", "add its folder")
    photos = []
    for split, tree in sorted(trees, key=lambda t: SPLITS.index(t[0]) if t[0] else 0):
        for label, name in enumerate(classes):
            for path in _images_below(tree / name):
                within = path.relative_to(folder).as_posix()
                _refuse_undecodable(folder, within)
                photos.append(Photo(path, within, label, split))
    return Source("folder", classes, tuple(photos), licence="not stated", origin=folder.name)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images_below(folder: Path) -> list[Path]:
    # os.walk does not follow links to folders, so a loop of links cannot trap it.
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [
            Path(root, f)
            for f in files
            if not f.startswith(".") and Path(f).suffix.lower() in _SUFFIXES
        ]
    return sorted(found)


def _refuse_case_twins(folder: Path, classes: tuple[str, ...]) -> None:
    seen: dict[str, str] = {}
    for name in classes:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise DataError(
                folder, f"classes {twin!r} and {name!r} differ only in case", "rename one of them"
            )


def _refuse_undecodable(folder: Path, name: str) -> None:
    # Python reads such names all the same, but they cannot be written to names.txt.
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(folder, f"the name {name!r} is not UTF-8", "rename it") from None

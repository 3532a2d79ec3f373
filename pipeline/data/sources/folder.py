"""One folder per class, with or without split folders above them."""

from __future__ import annotations

from collections.abc import Iterator
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

    Files that are no images by their suffix, and hidden ones, are passed over. Links are followed.

    Raises:
        DataError: There are no class folders; a folder cannot be read; a
            link leads nowhere, or back to a folder that it lies in.
    """
    tops = [path for path in _entries(folder) if path.is_dir()]
    split_of = {top: _SPLIT_NAMES.get(top.name.lower()) for top in tops}
    has_splits = bool(tops) and all(split_of.values())
    trees: list[tuple[SplitName | None, Path]] = (
        [(split_of[top], top) for top in tops] if has_splits else [(None, folder)]
    )
    folders = [(split, path) for split, tree in trees for path in _entries(tree) if path.is_dir()]
    classes = tuple(sorted({path.name for _, path in folders}))
    if not classes:
        raise DataError(folder, "holds no class folders", "make one folder of photographs a class")
    labels = {name: label for label, name in enumerate(classes)}
    photos = [
        Photo(path, path.relative_to(folder).as_posix(), labels[home.name], split)
        for split, home in folders
        for path in sorted(_images_below(home, (folder.resolve(),)))
    ]
    photos.sort(key=lambda photo: (SPLITS.index(photo.split) if photo.split else 0, photo.label))
    return Source("folder", classes, tuple(photos), licence="not stated", origin=folder.name)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden, by name."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        astray = [path for path in found if path.is_symlink() and not path.exists()]
    except OSError as error:
        raise DataError(
            folder, f"cannot be read ({error.strerror})", "check who owns it, or remove it"
        ) from None
    if astray:
        raise DataError(astray[0], "is a link that leads nowhere", "mend or remove it")
    return found


def _images_below(folder: Path, ancestors: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in ancestors:
        raise DataError(folder, "is a link back to a folder that it lies in", "remove the link")
    for path in _entries(folder):
        if path.is_dir():
            yield from _images_below(path, (*ancestors, real))
        elif path.suffix.lower() in _SUFFIXES:
            yield path

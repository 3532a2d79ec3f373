"""A folder of class folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.data.sources.base import (
    FORMAT_OF_SUFFIX,
    SPLITS,
    DataSource,
    Listing,
    Sample,
    SplitName,
)
from pipeline.errors import DataError
from pipeline.plugins import SOURCES

_SPLIT_NAMES: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    "test": "test",
}


@SOURCES.register("folder")
class Folder(DataSource):
    """Images in ``<class>/**`` or ``<split>/<class>/**``, with classes sorted by name.

    Hidden files and files with other suffixes are ignored. Symbolic links are followed.
    """

    requires_all_classes = True

    def read(self, path: Path) -> Listing:
        """Lists the images.

        Raises:
            DataError: There are no class folders, a folder cannot be read, or a link is broken or
                points to a folder that contains it.
        """
        folders = [entry for entry in _entries(path) if entry.is_dir()]
        trees = [(_SPLIT_NAMES.get(folder.name.lower()), folder) for folder in folders]
        if not trees or not all(split for split, _ in trees):
            trees = [(None, path)]
        class_folders = [
            (split, entry) for split, tree in trees for entry in _entries(tree) if entry.is_dir()
        ]
        classes = sorted({folder.name for _, folder in class_folders})
        labels = {name: label for label, name in enumerate(classes)}
        if not classes:
            raise DataError(path, "contains no class folders", "make one folder per class")
        samples = [
            Sample.from_path(path, file, labels[folder.name], split)
            for split, folder in class_folders
            for file in sorted(_image_files(folder, (path.resolve(),)))
        ]
        samples.sort(key=lambda sample: (SPLITS.index(sample.split or "train"), sample.label))
        return Listing(classes, samples)


def _entries(folder: Path) -> list[Path]:
    """Entries that are not hidden, sorted by name."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        broken = [path for path in entries if path.is_symlink() and not path.exists()]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError(folder, problem, "check permissions, or remove it") from None
    if broken:
        raise DataError(broken[0], "is a broken link", "fix or remove it")
    return entries


def _image_files(folder: Path, ancestors: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in ancestors:
        raise DataError(folder, "is a link to a folder that contains it", "remove the link")
    for path in _entries(folder):
        if path.is_dir():
            yield from _image_files(path, (*ancestors, real))
        elif path.suffix.lower() in FORMAT_OF_SUFFIX:
            yield path

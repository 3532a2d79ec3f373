"""The files below a folder, sorted into images and others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.data.formats import classify, readable_suffixes
from pipeline.errors import DataError

# Written by operating systems, NAS devices and archivers. @eaDir holds thumbnails, __MACOSX
# resource forks; lost+found can be read by the superuser only.
_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information")
)
# Expected beside images; other hidden entries may be there by mistake.
_HIDDEN = re.compile(
    r"\._.*|\.(ds_store|git.*|dvc.*|svn|cache|ipynb_checkpoints|appledouble|trash.*|thumb.*"
    r"|fseventsd|spotlight-v100|temporaryitems|documentrevisions-v100|nomedia|directory)"
)
_SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))


@dataclass(frozen=True)
class FolderTree:
    """A folder and what is below it, each sorted by name, without hidden entries.

    Attributes:
        path: The folder.
        folders: The folders in it, except those of the operating system.
        images: The images in it that can be read.
        unread: The images in it in formats that are not read.
        others: The other files in it, and the files in folders of the operating system.
        hidden: Hidden folders and images in it, which are not read.
    """

    path: Path
    folders: tuple[FolderTree, ...]
    images: tuple[Path, ...]
    unread: tuple[Path, ...]
    others: tuple[Path, ...]
    hidden: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @cached_property
    def has_images(self) -> bool:
        """Whether there are images at any depth, including those that are not read."""
        return bool(self.images or self.unread) or bool(self.folders_with_images)

    @cached_property
    def folders_with_images(self) -> tuple[FolderTree, ...]:
        """The folders that have images at any depth."""
        return tuple(folder for folder in self.folders if folder.has_images)

    @property
    def is_empty(self) -> bool:
        """Whether there are no files at any depth."""
        files = self.images or self.unread or self.others
        return not files and all(folder.is_empty for folder in self.folders)

    def count_images(self) -> int:
        """How many images at any depth can be read."""
        return sum(len(tree.images) for tree in self.walk())

    def walk(self) -> Iterator[FolderTree]:
        """This folder and all folders below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()


def is_system_name(name: str) -> bool:
    """Whether a file or folder is hidden, or was made by an operating system or an archiver."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS | _SYSTEM_FILES


def scan(folder: Path, ancestors: tuple[Path, ...] = ()) -> FolderTree:
    """Lists a folder at all depths. Symbolic links are followed.

    Raises:
        DataError: A folder cannot be read, or a link is broken or points to a folder that contains
            it.
    """
    real = folder.resolve()
    if real in ancestors:
        raise DataError(folder, "is a link to a folder that contains it", "remove the link")
    folders: list[FolderTree] = []
    files: dict[str, list[Path]] = {"readable": [], "image": [], "other": []}
    hidden: list[Path] = []
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.name.startswith("."):
            is_usual = _HIDDEN.fullmatch(entry.name.lower())
            if not is_usual and (entry.is_dir() or path.suffix.lower() in readable_suffixes()):
                hidden.append(path)
        elif not entry.is_dir():
            files["other" if is_system_name(entry.name) else classify(path)].append(path)
        elif is_system_name(entry.name):
            files["other"] += sorted(
                Path(f, name) for f, _, names in os.walk(path) for name in names
            )
        else:
            folders.append(scan(path, (*ancestors, real)))
    readable, image, other = (tuple(found) for found in files.values())
    return FolderTree(folder, tuple(folders), readable, image, other, tuple(hidden))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Entries, sorted by name."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError(folder, problem, "check permissions, or remove it") from None
    for entry in entries:
        is_hidden = entry.name.startswith(".")
        if not is_hidden and entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            raise DataError(folder / entry.name, "is a broken link", "fix or remove it")
    return entries

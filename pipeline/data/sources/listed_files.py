"""Finds the files that a table names."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.data.formats import readable_suffixes
from pipeline.data.sources.base import is_file
from pipeline.data.sources.quoting import quoted
from pipeline.errors import DataError


class ListedFiles:
    """Finds files by paths that may have been written on another system.

    A path may have backslashes, lack the suffix, or differ from the file's in case or in the form
    of its Unicode characters, if exactly one file matches.

    Args:
        root: Relative paths start here, and all files are below it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._corrected: Counter[str] = Counter()
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, path: str, where: str) -> PurePosixPath:
        """The file of a path, relative to ``root``.

        Raises:
            DataError: There is no such file. ``where`` is the line with the path.
        """
        name = self._relative(path, where)
        if is_file(self.root / name):
            return name
        folder = PurePosixPath()
        for part in name.parts[:-1]:
            matches = self._matches(folder, part)
            if len(matches) != 1:
                break
            folder /= matches[0]
        else:
            found = self._find_in(folder, name.name)
            if len(found) == 1 and is_file(self.root / found[0]):
                return found[0]
            if len(found) > 1:
                both = quoted(map(str, found))
                raise DataError(where, f"{path!r} could be {both}", "write the whole name")
        raise self._missing(path, name, where)

    @property
    def remarks(self) -> list[str]:
        """How paths differed from those of the files that were found, one sentence each."""
        return [f"paths {kind}: {count}" for kind, count in self._corrected.items()]

    def count_unlisted(self, listed: set[str]) -> int:
        """How many images are in the folders of listed files, but are not listed themselves."""
        folders = {PurePosixPath(name).parent for name in listed}
        there = (
            (folder / name).as_posix()
            for folder in folders
            for names in self._list(folder).values()
            for name in names
            if PurePosixPath(name).suffix.lower() in readable_suffixes()
        )
        return sum(name not in listed for name in there)

    def _relative(self, path: str, where: str) -> PurePosixPath:
        """The path with slashes, relative to ``root`` and without ``..``."""
        if re.match(r"[a-z]{2,}://", path, re.IGNORECASE):
            raise DataError(where, f"{path!r} is a URL", "download the images, and write paths")
        windows = PureWindowsPath(path)
        if windows.drive:
            raise self._outside(path, "an absolute path of Windows", windows.parts[1:], where)
        if "\\" in path and not is_file(self.root / path):
            self._corrected["with backslashes, read with slashes"] += 1
            path = windows.as_posix()
        name = posixpath.normpath(path) if path else ""
        if name.startswith("/"):
            for root in (self.root.absolute(), self.root.resolve()):
                if Path(name).is_relative_to(root):
                    return PurePosixPath(Path(name).relative_to(root).as_posix())
        if name.startswith(("/", "../")) or name == "..":
            parts = PurePosixPath(name).parts[1:]
            raise self._outside(path, f"outside of {self.root}", parts, where)
        return PurePosixPath(name)

    def _outside(self, path: str, what: str, parts: tuple[str, ...], where: str) -> DataError:
        """An error that names the end of the path for which there is a file, if any."""
        remedy = f"write paths relative to {self.root}, or set prepare.csv.root"
        for start in range(len(parts)):
            end = PurePosixPath(*parts[start:])
            if is_file(self.root / end):
                remedy = f"write {str(end)!r}, which exists"
                break
        return DataError(where, f"{path!r} is {what}", remedy)

    def _find_in(self, folder: PurePosixPath, name: str) -> list[PurePosixPath]:
        """The files of a folder that match a name, or its stem if the suffix is missing."""
        found = self._matches(folder, name)
        kind = "that differ from the file's in case or Unicode form"
        if not found and PurePosixPath(name).suffix.lower() not in readable_suffixes():
            found = self._with_stem(folder, name)
            kind = "without a suffix, read as the only image of that name"
        if len(found) == 1:
            self._corrected[kind] += 1
        return [folder / each for each in found]

    def _with_stem(self, folder: PurePosixPath, stem: str) -> list[str]:
        names = self._list(folder)
        return [
            name
            for suffix in sorted(readable_suffixes())
            for name in names.get(_fold(stem + suffix), ())
        ]

    def _with_zeros(self, name: PurePosixPath) -> list[str]:
        """The files whose name has leading zeros, which spreadsheets remove from numbers."""
        if not name.stem.isdecimal():
            return []
        files = (
            PurePosixPath(each) for names in self._list(name.parent).values() for each in names
        )
        return [
            file.name
            for file in files
            if file.suffix == name.suffix
            and file.stem.isdecimal()
            and int(file.stem) == int(name.stem)
        ]

    def _matches(self, folder: PurePosixPath, name: str) -> list[str]:
        """The entries with this name, else those that differ in case."""
        found = self._list(folder).get(_fold(name), [])
        return [name] if name in found else found

    def _list(self, folder: PurePosixPath) -> dict[str, list[str]]:
        """The names in a folder by their folded form."""
        path = self.root / folder
        if path not in self._names:
            names: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(path)):  # noqa: PTH208
                    names.setdefault(_fold(name), []).append(name)
            except OSError:
                names = {}
            self._names[path] = names
        return self._names[path]

    def _missing(self, path: str, name: PurePosixPath, where: str) -> DataError:
        if not path:
            return DataError(where, "the path is empty", "write one, or remove the row")
        if os.path.isdir(self.root / name):  # noqa: PTH112 - it accepts impossible names
            return DataError(where, f"{path!r} is a folder", "write the path of an image")
        remedy = "correct the path, remove the row, or set prepare.csv.root to the images' folder"
        others = self._with_stem(name.parent, name.stem) or self._with_zeros(name)
        if others:
            remedy = f"there is {quoted(others)}: correct the path"
        return DataError(where, f"{path!r} is missing in {self.root}", remedy)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

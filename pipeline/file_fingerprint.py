"""One hash of the names and contents of many files, which is fast if they did not change.

The hash of every file is remembered with its size, its inode, and its times of modification and of
change, as in the index of git. A file is read again if one of them differs. They are not part of
the fingerprint, so that a copy of the files on another machine has the same one.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import DataError
from pipeline.files import atomic_file
from pipeline.progress import Track, silent

_FORMAT = 1
# A file that changed this shortly before it was read can change again within the same time stamp,
# since file systems round them: FAT to 2 s, others to a few milliseconds. Its hash is not kept.
_RACY_NS = 2_000_000_000


@dataclass(frozen=True)
class Fingerprint:
    """Names and contents of files.

    Attributes:
        files: Number of files.
        bytes: Sum of their sizes.
        sha256: Hash of names and contents, 64 hex digits.
        suffixes: Suffixes of their names in lower case, such as ``.png``.
    """

    files: int
    bytes: int
    sha256: str
    suffixes: frozenset[str]


def is_hidden(name: str) -> bool:
    """Whether the name of a file or folder begins with a dot."""
    return name.startswith(".")


class FileHashes:
    """SHA-256 of files, remembered in one file. If it is damaged, all files are read again.

    At the end of the ``with`` block, the hashes of the files that were used in it are saved. After
    an error or an interrupt, the earlier ones are kept as well.

    Examples:
        >>> with FileHashes(Path("hashes.json")) as hashes:
        ...     print(hashes.fingerprint([Path("images")]).files)
        2624

    Args:
        store: The file that remembers the hashes.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known = _read(store)
        self._used: dict[str, list[Any]] = {}
        self._started = time.time_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        kept = self._used if kind is None else self._known | self._used
        if kept != self._known:
            with atomic_file(self._store) as temporary:
                value = {"format": _FORMAT, "files": kept}
                temporary.write_text(json.dumps(value, separators=(",", ":")), "utf-8")

    def fingerprint(
        self,
        paths: Iterable[Path],
        *,
        leave_out: Callable[[str], bool] = is_hidden,
        track: Track = silent,
    ) -> Fingerprint:
        """The fingerprint of files and folders.

        It depends on the order and the contents of ``paths``, not on their names, and on the names
        and contents of all files below folders. Symbolic links are followed, except to a folder
        that contains the link. A file that cannot be read, such as a broken link, counts as
        such: the fingerprint changes when it can be read.

        Args:
            paths: Files and folders.
            leave_out: Whether a file or folder below ``paths`` is left out, by its name.
            track: Displays the progress.

        Raises:
            DataError: A folder cannot be read.
        """
        found = [
            (f"{number}/{name}", path, status)
            for number, start in enumerate(paths)
            for name, path, status in _files(start, leave_out)
        ]
        total, size = hashlib.sha256(), 0
        for name, path, status in track(found, "hashing files", len(found)):
            digest = self._hash(path, status) or "cannot be read"
            total.update(f"{name}\0{digest}\n".encode("utf-8", "surrogateescape"))
            size += status.st_size if status else 0
        suffixes = frozenset(os.path.splitext(path)[1].lower() for _, path, _ in found)  # noqa: PTH122
        return Fingerprint(len(found), size, total.hexdigest(), suffixes)

    def _hash(self, path: str, status: os.stat_result | None) -> str | None:
        """SHA-256 of a file; None if it cannot be read."""
        if status is None or not stat.S_ISREG(status.st_mode):  # a pipe could be read for ever
            return None
        key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        entry = self._known.get(path)
        if entry is None or entry[:-1] != key:
            try:
                with open(path, "rb") as file:  # noqa: PTH123 (100,000 Path objects are slow)
                    entry = [*key, hashlib.file_digest(file, "sha256").hexdigest()]
            except OSError:
                return None
        if max(status.st_mtime_ns, status.st_ctime_ns) < self._started - _RACY_NS:
            self._used[path] = entry
        return str(entry[-1])


def _read(store: Path) -> dict[str, list[Any]]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        value = json.loads(store.read_bytes())
        files: dict[str, list[Any]] = value["files"]
        if value["format"] == _FORMAT and all(len(entry[-1]) == 64 for entry in files.values()):
            return files
    return {}


def _files(
    start: Path, leave_out: Callable[[str], bool]
) -> Iterator[tuple[str, str, os.stat_result | None]]:
    """Name below ``start``, path and status of every file, sorted by name."""
    try:
        status = start.stat()
    except OSError:
        status = None
    if status is None or not stat.S_ISDIR(status.st_mode):
        yield "", os.fspath(start), status
    else:
        below = _below(os.fspath(start), "", (status,), leave_out)
        yield from sorted(below, key=lambda file: file[0])


def _below(
    folder: str,
    prefix: str,
    above: Sequence[os.stat_result],
    leave_out: Callable[[str], bool],
) -> Iterator[tuple[str, str, os.stat_result | None]]:
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not leave_out(entry.name)]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError(folder, problem, "check permissions, or remove it") from None
    for entry in entries:
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
        except OSError:  # such as a broken link
            yield name, entry.path, None
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield name, entry.path, status
        elif not any(os.path.samestat(status, other) for other in above):
            yield from _below(entry.path, f"{name}/", (*above, status), leave_out)

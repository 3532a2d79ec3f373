"""Errors of a full or read-only disk, as one message that names the folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import FinchError, Stopped, StorageError
from pipeline.unfinished import lasting


@contextmanager
def explain_storage(folder: Path, size: int = 0) -> Iterator[None]:
    """Turns errors of a full or read-only disk into a ``StorageError`` that names the folder.

    Libraries raise errors of their own, such as ``SafetensorError``, ``RuntimeError`` or an
    ``OSError`` without a number. For these the block's folder is tried.

    Args:
        folder: Where the block writes.
        size: Bytes that it writes, if known.
    """
    try:
        yield
    except (FinchError, Stopped):
        raise
    except Exception as error:
        problem = storage_problem(error, folder, size)
        if problem is None:
            raise
        raise problem from error


def storage_problem(error: Exception, folder: Path, size: int = 0) -> StorageError | None:
    """The error for the user, if the disk is its cause; else None.

    The arguments are those of ``explain_storage``. The disk may also be that of temporary files.
    """
    folder, number = _find_cause(error, folder)
    folder = lasting(folder)  # a temporary folder does not exist any more
    if number == errno.ENOSPC:
        left = format_bytes(shutil.disk_usage(_existing(folder)).free)
        room = f"no room for {format_bytes(size)}, {left} left" if size else f"no room, {left} left"
        return StorageError(folder, room, f"free disk space, {_AGAIN}")
    if number == errno.EDQUOT:
        return StorageError(folder, "the disk quota is used up", f"free disk space, {_AGAIN}")
    if number == errno.EFBIG:
        problem = "a file is larger than the file system or the limit of the process allows"
        return StorageError(folder, problem, f"raise it (ulimit -f), {_AGAIN}")
    if number == errno.EROFS:
        problem = "is on a read-only file system"
        return StorageError(folder, problem, "choose another folder, or make it writable")
    if number in (errno.EACCES, errno.EPERM) and isinstance(error, OSError):
        name = _name_of(error)
        if name and name.is_relative_to(folder):
            return StorageError(name, f"{error.strerror}", f"change its permissions, {_AGAIN}")
    return None


_AGAIN = "then run the same command again"


def _name_of(error: Exception) -> Path | None:
    """The file that an error names; the second one of two, which is the target of a copy."""
    name = (error.filename2 or error.filename) if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else None


def _existing(folder: Path) -> Path:
    """The folder, or the closest one above it that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())


# How libraries in Rust (safetensors), NumPy and streams of C++ (OpenVINO) tell a failed write.
_RUST_ERROR = re.compile(r"os error (\d+)")
_FAILED_WRITE = re.compile(r"\d+ requested and \d+ written|iostream error")


def _find_cause(error: Exception, folder: Path) -> tuple[Path, int | None]:
    """The folder that cannot be written to, and the number of the system's error, if any."""
    number = error.errno if isinstance(error, OSError) else None
    if told := _RUST_ERROR.search(str(error)):
        number = int(told[1])
    if number in (errno.EACCES, errno.EPERM):
        return folder, number
    if number is not None and (name := _name_of(error)):
        return name.parent, number
    # Few errors name a file. On a full disk `tempfile` finds no folder at all, which is ENOENT.
    for place in (folder, Path(os.environ.get("TMPDIR", "/tmp"))):
        if found := _try_to_write(place):
            return place, found
    return folder, number or (errno.ENOSPC if _FAILED_WRITE.search(str(error)) else None)


def _try_to_write(folder: Path) -> int | None:
    """The number of the error of writing a megabyte into a folder, unless it is permission."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder), buffering=0) as file:
            for _ in range(16):  # random, since some file systems compress
                file.write(os.urandom(2**16))
    except OSError as error:
        return None if error.errno in (errno.EACCES, errno.EPERM) else error.errno
    return None


def format_bytes(count: int) -> str:
    """A number of bytes with a decimal unit, such as ``43.1 MB``."""
    power = min(4, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.1f} {' kMGT'[power]}B" if power else f"{count} bytes"

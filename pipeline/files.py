"""Atomic writes (temporary name, then rename), safe reads, and SHA-256 of files and values."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtifactError, FinchError, Stopped, StorageError

T = TypeVar("T")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which is renamed to ``path`` at the end.

    When the block raises, ``path`` is left as it was. Its mode follows the umask.

    Raises:
        StorageError: The disk is full, or does not permit writing.
    """
    with explain_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary = _temporary(path).with_suffix(path.suffix)
        try:
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            with explain_storage(path.parent):  # while the unfinished file still takes its room
                yield temporary
            temporary.chmod(mode)  # the block may have replaced the file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """Yields an empty temporary folder next to ``path``, which replaces ``path`` at the end.

    When the block raises, ``path`` is left as it was. The modes of all files follow the umask.

    Args:
        path: The folder to replace.
        size: Bytes that will be written, if known.

    Raises:
        StorageError: There is no room for ``size``, or the disk does not permit writing.
    """
    with explain_storage(path.parent, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        if size > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary = _temporary(path)
        try:
            temporary.mkdir()
            mode = temporary.stat().st_mode & 0o666
            with explain_storage(path.parent, size):
                yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    file.chmod(mode)  # some libraries write files that only their owner can read
            _replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
    if made := next((each for each in (folder, *folder.parents) if _OWNER.match(each.name)), None):
        folder = made.parent  # a temporary folder does not exist any more
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


# Names the process, so that what it leaves when it is killed can be recognized.
_OWNER = re.compile(
    rf"\.(?P<name>.*)\.{re.escape(platform.node())}-(?P<pid>\d+)-[0-9a-f]{{8}}(\.|$)", re.DOTALL
)


def _temporary(path: Path) -> Path:
    owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:100]}.{owner}.part")


def _remove_leftovers(path: Path) -> None:
    """Removes what processes that were killed left of the same file or folder."""
    for other in _leftovers(path.parent.absolute()).pop(path.name[:100], []):
        with suppress(OSError):
            shutil.rmtree(other) if other.is_dir() and not other.is_symlink() else other.unlink()


@cache  # listed once, since a folder may hold very many files
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """Temporary files and folders of ended processes, by the names that they were for."""
    found: dict[str, list[Path]] = {}
    for other in folder.iterdir():
        owner = _OWNER.match(other.name)
        if owner and not psutil.pid_exists(int(owner["pid"])):
            found.setdefault(owner["name"], []).append(other)
    return found


def move_folder(made: Path, path: Path) -> None:
    """Moves a folder to ``path`` and replaces what exists there.

    Within one file system the folder is renamed. From another one it is copied to a temporary
    folder first, so that ``path`` is never incomplete.
    """
    with explain_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _replace(made, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
            with atomic_folder(path, size) as temporary:
                shutil.copytree(made, temporary, dirs_exist_ok=True)
            shutil.rmtree(made)


def _replace(made: Path, path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
    made.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes an indented JSON value atomically, with a final newline."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file of an earlier stage.

    Raises:
        ArtifactError: The file is missing, unreadable, truncated, or not a JSON object.
    """
    try:
        _check_regular(path)
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(path, f"is truncated or not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ArtifactError(path, f"holds a {type(value).__name__}, not an object")
    return value


def read_artifact(path: Path, kind: type[T]) -> T:
    """Reads a JSON object of an earlier stage as a data class or a pydantic model.

    Raises:
        ArtifactError: As ``read_json``; or a value is missing, of the wrong type, or out of range.
            The message names the first such value.
    """
    return parse_artifact(path, kind, read_json(path))


def parse_artifact(path: Path, kind: type[T], value: Any) -> T:
    """Like ``read_artifact``, for a JSON value that was read from ``path``."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the object"
        raise ArtifactError(path, f"has an invalid value ({place}: {first['msg']})") from None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _check_regular(path: Path) -> None:
    """Refuses a pipe or a device, which could be read for ever."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ArtifactError(path, "is not a regular file")


def open_array(path: Path) -> NDArray[Any]:
    """Opens a ``.npy`` file as a read-only memory map.

    Raises:
        ArtifactError: The file is missing, truncated or not a NumPy file, or has Python objects.
    """
    try:
        _check_regular(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(path, f"is truncated or not a NumPy file ({error})") from None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys, as 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

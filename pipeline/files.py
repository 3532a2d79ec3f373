"""Atomic writes (temporary name, then rename), safe reads, and SHA-256 of files and values."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtifactError, StorageError

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

    Args:
        folder: Where the block writes.
        size: Bytes that it writes, if known.
    """
    try:
        yield
    except OSError as error:
        problem = storage_problem(error, folder, size)
        if problem is None:
            raise
        raise StorageError(folder, problem, "then run the same command again") from error


def storage_problem(error: OSError, folder: Path, size: int = 0) -> str | None:
    """What is wrong with the disk, and what to do; None if the error has another cause.

    The arguments are those of ``explain_storage``.
    """
    if error.errno == errno.ENOSPC:
        existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        left = format_bytes(shutil.disk_usage(existing).free)
        room = f"no room for {format_bytes(size)}, {left} left" if size else f"no room, {left} left"
        return f"{room}: free disk space"
    if error.errno == errno.EDQUOT:
        return "the disk quota is used up: free disk space"
    if error.errno == errno.EFBIG:
        return "a file is larger than the file system or the limit of the process allows: raise it"
    if error.errno == errno.EROFS:
        return "is on a read-only file system: choose another folder"
    own = error.filename is not None and Path(str(error.filename)).is_relative_to(folder)
    if error.errno in (errno.EACCES, errno.EPERM) and own:
        return f"{error.filename} cannot be written ({error.strerror}): change its permissions"
    return None


def format_bytes(count: int) -> str:
    """A number of bytes with a decimal unit, such as ``43.1 MB``."""
    power = min(4, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.1f} {' kMGT'[power]}B" if power else f"{count} bytes"


# Names the process, so that what it leaves when it is killed can be recognized.
_OWNER = re.compile(r"(?P<host>.*)-(?P<process>\d+)-[0-9a-f]{8}")


def _temporary(path: Path) -> Path:
    owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:100]}.{owner}.part")


def _remove_leftovers(path: Path) -> None:
    """Removes what processes that were killed left of the same file or folder."""
    prefix = f".{path.name[:100]}."
    for other in path.parent.glob(f"{glob.escape(prefix)}*"):
        owner = _OWNER.match(other.name.removeprefix(prefix))
        if owner and owner["host"] == platform.node() and not psutil.pid_exists(int(owner[2])):
            if other.is_dir() and not other.is_symlink():
                shutil.rmtree(other, ignore_errors=True)
            else:
                other.unlink(missing_ok=True)


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

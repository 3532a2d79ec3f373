"""Atomic writes (temporary name, then rename), safe reads, and SHA-256 of files and values."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtifactError
from pipeline.storage import explain_storage as explain_storage
from pipeline.unfinished import remove_leftovers, temporary_path

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
        remove_leftovers(path)
        temporary = temporary_path(path).with_suffix(path.suffix)
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
        path: The folder to replace. If it is a link to a folder, as on another disk, that one is
            replaced.
        size: Bytes that will be written, if known.

    Raises:
        StorageError: There is no room for ``size``, or the disk does not permit writing.
    """
    path = _linked(path)
    with explain_storage(path.parent, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        if size > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary = temporary_path(path)
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


def _linked(path: Path) -> Path:
    return path.resolve() if path.is_symlink() else path


def move_folder(made: Path, path: Path) -> None:
    """Moves a folder to ``path`` and replaces what exists there.

    Within one file system the folder is renamed. From another one it is copied to a temporary
    folder first, so that ``path`` is never incomplete. Links are followed as by ``atomic_folder``.
    """
    path = _linked(path)
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
    """SHA-256 of a file's bytes, as 64 hex digits.

    Raises:
        ArtifactError: There is no such file, or it is not a regular one.
    """
    _check_regular(path)
    if not path.is_file():
        raise ArtifactError(path, "is missing")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys, as 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()

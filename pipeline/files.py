"""Atomic writes (temporary name, then rename), safe reads, and SHA-256 of files and values."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtifactError

T = TypeVar("T")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which is renamed to ``path`` at the end.

    When the block raises, ``path`` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder next to ``path``, which replaces ``path`` at the end.

    When the block raises, ``path`` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        _replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(made: Path, path: Path) -> None:
    """Moves a folder to ``path`` and replaces what exists there.

    Within one file system the folder is renamed. From another one it is copied to a temporary
    folder first, so that ``path`` is never incomplete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _replace(made, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_folder(path) as temporary:
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


def open_array(path: Path) -> NDArray[Any]:
    """Opens a ``.npy`` file as a read-only memory map.

    Raises:
        ArtifactError: The file is missing, truncated or not a NumPy file, or has Python objects.
    """
    try:
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

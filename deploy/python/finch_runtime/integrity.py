"""Whether the files of a bundle are those of its manifest, and no other code is among them.

Uses the standard library only: a bundle's code is checked before it is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from finch_runtime.regular import why_unreadable

PACKAGE = "finch_runtime"
_MAX_MANIFEST = 1 << 24
_CACHE = "__pycache__"
REMEDY = "unpack the bundle again, into an empty folder"


def find_problem(bundle: str) -> str:
    """What is wrong with the code of a bundle and its remedy, as one line; empty if nothing is."""
    folder = Path(bundle)
    manifest = folder / "manifest.json"
    try:
        files = dict(read_manifest(manifest)["files"])
        code = {name: str(files[name]) for name in files if name.startswith(f"{PACKAGE}/")}
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        return f"{manifest}: cannot be read: {error}; {REMEDY}"
    for name, digest in code.items():
        damage = find_damage(folder / name, digest)
        if damage is not None:
            return f"{folder / name}: {damage}; {REMEDY}"
    stranger = find_stranger(folder, files)
    if stranger is not None:
        return f"{stranger}: is not part of the bundle; remove it, or {REMEDY}"
    return ""


def read_manifest(path: Path) -> Any:
    """The JSON value in a manifest.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no regular file, larger than 16 MB, or not JSON.
        RecursionError: It is nested too deeply.
    """
    unreadable = why_unreadable(path)
    if unreadable is not None:
        raise ValueError(unreadable)
    with path.open("rb") as file:
        content = file.read(_MAX_MANIFEST + 1)
    if len(content) > _MAX_MANIFEST:
        raise ValueError(f"has more than {_MAX_MANIFEST} bytes")
    return json.loads(content.decode("utf-8"))


def find_damage(file: Path, digest: str) -> str | None:
    """How a file differs from the one with a SHA-256 in hex digits; None if it does not."""
    unreadable = why_unreadable(file)
    if unreadable is not None:
        return unreadable
    sha256 = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                sha256.update(chunk)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if sha256.hexdigest() == digest.lower() else "differs from the bundled file"


def find_stranger(folder: Path, files: Collection[str]) -> Path | None:
    """A file in a bundle that Python could import, and that ``files`` does not list.

    In the package, that is every file. Beside it, files and folders are allowed if they hold no
    code that Python would find from there, such as images or a virtual environment.
    """
    for path in _list(folder):
        if path.name.partition(".")[0].isidentifier() and path.name not in (PACKAGE, _CACHE):
            for each in _list(path) if path.is_dir() else [path]:
                is_code = each.name.endswith(tuple(all_suffixes()))
                if is_code and each.relative_to(folder).as_posix() not in files:
                    return each
    for path in sorted((folder / PACKAGE).rglob("*")):
        name = path.relative_to(folder)
        is_listed = name.as_posix() in files or (path.is_dir() and not path.is_symlink())
        if not is_listed and _CACHE not in name.parts:
            return path
    return None


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # Python cannot import from it either
        return []

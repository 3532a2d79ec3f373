"""An unpacked bundle: its manifest, read and checked, and its files, held to their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from finch_runtime.errors import RuntimeProblem, said_by
from finch_runtime.fit import FITS
from finch_runtime.session import RUNTIMES

FORMAT = 1

Value = TypeVar("Value", str, int, "list[Any]", "dict[str, Any]")

_UNPACK_AGAIN = "unpack the bundle again"


@dataclass(frozen=True)
class Bundle:
    """What the runtime needs to know of a bundle.

    Attributes:
        folder: Where it is unpacked.
        name: The bundle's name.
        model: The model's file.
        runtime: The inference runtime it is for.
        threads: Threads it was measured with.
        size: Side of its input in pixels.
        fit: How a photograph becomes a square (see ``images.load_image``).
        labels: One a class, in the order of the model's outputs.
    """

    folder: Path
    name: str
    model: Path
    runtime: str
    threads: int
    size: int
    fit: str
    labels: tuple[str, ...]


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle and check every file that its manifest lists.

    Raises:
        RuntimeProblem: The manifest is missing, damaged or of another format; it names a file
            outside of the bundle; a file is missing or has changed.
    """
    path = folder / "manifest.json"
    manifest = _read(path)
    found = _take(path, manifest, "format", int)
    if found != FORMAT:
        raise RuntimeProblem(
            path,
            f"has format {found}, this runtime reads format {FORMAT}",
            "use the finch_runtime that came with the bundle",
        )
    files = _take(path, manifest, "files", dict)
    for name, digest in files.items():
        _verify(path, _inside(folder, path, name), digest)

    model = _take(path, manifest, "model.path", str)
    runtime = _one_of(path, "model.runtime", _take(path, manifest, "model.runtime", str), RUNTIMES)
    weights = [str(Path(model).with_suffix(".bin").as_posix())] if model.endswith(".xml") else []
    for name in [model, *weights]:
        if name not in files:
            raise RuntimeProblem(path, f"`files` has no hash of {name!r}", _UNPACK_AGAIN)
    return Bundle(
        folder=folder,
        name=_take(path, manifest, "name", str),
        model=folder / model,
        runtime=runtime,
        threads=_positive(path, manifest, "threads"),
        size=_size(path, manifest),
        fit=_one_of(path, "input.fit", _take(path, manifest, "input.fit", str), FITS),
        labels=_labels(path, manifest),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RuntimeProblem(
            path, "there is no such file", "name the folder of an unpacked bundle with --bundle"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeProblem(path, f"cannot be read: {said_by(error)}", _UNPACK_AGAIN) from error
    if not isinstance(manifest, dict):
        raise RuntimeProblem(path, "is not a JSON object", _UNPACK_AGAIN)
    return manifest


def _take(path: Path, manifest: dict[str, Any], key: str, kind: type[Value]) -> Value:
    value: Any = manifest
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise RuntimeProblem(path, f"has no `{key}`", _UNPACK_AGAIN)
        value = value[part]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RuntimeProblem(path, f"`{key}` is {value!r}, not a {kind.__name__}", _UNPACK_AGAIN)
    return value


def _positive(path: Path, manifest: dict[str, Any], key: str) -> int:
    value = _take(path, manifest, key, int)
    if value < 1:
        raise RuntimeProblem(path, f"`{key}` is {value}, not 1 or more", _UNPACK_AGAIN)
    return value


def _one_of(path: Path, key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise RuntimeProblem(
            path, f"`{key}` is {value!r}, not {' or '.join(allowed)}", _UNPACK_AGAIN
        )
    return value


def _size(path: Path, manifest: dict[str, Any]) -> int:
    for key, only in (("dtype", "uint8"), ("layout", "NHWC"), ("color", "RGB")):
        _one_of(path, f"input.{key}", _take(path, manifest, f"input.{key}", str), (only,))
    height = _positive(path, manifest, "input.height")
    width = _positive(path, manifest, "input.width")
    if height != width:
        raise RuntimeProblem(path, f"its input is {height} x {width}, not square", _UNPACK_AGAIN)
    return height


def _labels(path: Path, manifest: dict[str, Any]) -> tuple[str, ...]:
    labels = _take(path, manifest, "labels", list)
    if not labels or not all(isinstance(label, str) for label in labels):
        raise RuntimeProblem(path, "`labels` is not a list of names", _UNPACK_AGAIN)
    return tuple(labels)


def _inside(folder: Path, path: Path, name: str) -> Path:
    """The listed file, unless its name leads out of the bundle."""
    # Windows' rules are the stricter ones: they also split at backslashes and know drives.
    pure = PureWindowsPath(name)
    file = folder / name.replace("\0", "")
    leads_out = (
        not pure.parts
        or "\0" in name
        or bool(pure.anchor)
        or ".." in pure.parts
        or not file.resolve().is_relative_to(folder.resolve())
    )
    if leads_out:
        raise RuntimeProblem(path, f"`files` names {name!r}, outside of the bundle", _UNPACK_AGAIN)
    return file


def _verify(path: Path, file: Path, digest: object) -> None:
    if not isinstance(digest, str):
        raise RuntimeProblem(path, f"the hash of {file.name!r} is not a text", _UNPACK_AGAIN)
    sha256 = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                sha256.update(chunk)
    except OSError as error:
        raise RuntimeProblem(file, f"cannot be read: {error.strerror}", _UNPACK_AGAIN) from None
    if sha256.hexdigest() != digest.lower():
        raise RuntimeProblem(file, "is not the file that was bundled", _UNPACK_AGAIN)

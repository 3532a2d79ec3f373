"""An unpacked bundle: its manifest is validated, its files are verified against their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.protocol import ModelSource, decode
from finch_runtime.runtimes import RUNTIMES
from finch_runtime.session import Session, open_session

FORMAT = 1
FITS = ("crop", "stretch")
"""How an image becomes a square: its center is cropped, or each side is scaled separately."""

_UNPACK_AGAIN = "unpack the bundle again"


@dataclass(frozen=True)
class Bundle:
    """Contents of a bundle.

    Attributes:
        folder: Where it is unpacked.
        name: Name of the bundle.
        model: Model file.
        runtime: Inference runtime of the model.
        threads: Number of threads that the model was measured with.
        size: Height and width of the input in pixels.
        fit: Resizing mode, see ``images.load_image``.
        labels: One label per class, in the order of the model's outputs.
    """

    folder: Path
    name: str
    model: Path
    runtime: str
    threads: int
    size: int
    fit: str
    labels: tuple[str, ...]


def open_source(source: ModelSource, threads: int | None) -> tuple[Session, Bundle | None]:
    """Opens a model file or a bundle; by default with the threads of the bundle, or 1."""
    path = Path(source.path)
    if source.runtime is not None:
        return open_session(path, source.runtime, 1 if threads is None else threads), None
    bundle = open_bundle(path)
    threads = bundle.threads if threads is None else threads
    return open_session(bundle.model, bundle.runtime, threads), bundle


def open_bundle(folder: Path) -> Bundle:
    """Reads a bundle and verifies every file in its manifest.

    Raises:
        RuntimeProblem: The manifest is missing, damaged or of another format, or names a file
            outside of the bundle; or a file is missing or has changed.
    """
    path = folder / "manifest.json"
    manifest = _read_manifest(path)
    for name, digest in manifest.files.items():
        _verify(_resolve(path, folder, name), digest)
    model, shape = manifest.model, manifest.input
    weights = [Path(model.path).with_suffix(".bin").as_posix()]
    for name in [model.path, *(weights if model.path.endswith(".xml") else [])]:
        if name not in manifest.files:
            raise RuntimeProblem(path, f"`files` has no hash of {name!r}", _UNPACK_AGAIN)
    for key, value, allowed in (
        ("model.runtime", model.runtime, RUNTIMES),
        ("input.dtype", shape.dtype, ("uint8",)),
        ("input.layout", shape.layout, ("NHWC",)),
        ("input.color", shape.color, ("RGB",)),
        ("input.fit", shape.fit, FITS),
    ):
        if value not in allowed:
            problem = f"`{key}` is {value!r}, not {' or '.join(allowed)}"
            raise RuntimeProblem(path, problem, _UNPACK_AGAIN)
    if shape.height != shape.width or min(shape.height, manifest.threads, len(manifest.labels)) < 1:
        raise RuntimeProblem(
            path,
            f"has input {shape.height} x {shape.width}, {manifest.threads} threads and "
            f"{len(manifest.labels)} labels",
            _UNPACK_AGAIN,
        )
    return Bundle(
        folder=folder,
        name=manifest.name,
        model=folder / model.path,
        runtime=model.runtime,
        threads=manifest.threads,
        size=shape.height,
        fit=shape.fit,
        labels=tuple(manifest.labels),
    )


@dataclass(frozen=True)
class _ModelEntry:
    path: str
    runtime: str


@dataclass(frozen=True)
class _InputEntry:
    dtype: str
    layout: str
    color: str
    height: int
    width: int
    fit: str


@dataclass(frozen=True)
class _Manifest:
    """The keys of a manifest that matter on the device."""

    name: str
    model: _ModelEntry
    input: _InputEntry
    labels: list[str]
    threads: int
    files: dict[str, str]


def _read_manifest(path: Path) -> _Manifest:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RuntimeProblem(
            path, "no such file", "pass the folder of an unpacked bundle as --bundle"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeProblem(path, f"cannot be read: {last_line(error)}", _UNPACK_AGAIN) from error
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or found != FORMAT:
        raise RuntimeProblem(
            path,
            f"has format {found}, this runtime reads format {FORMAT}",
            "use the finch_runtime in the bundle",
        )
    try:
        manifest: _Manifest = decode(_Manifest, values, "manifest", allow_unknown=True)
    except RuntimeProblem as error:
        raise RuntimeProblem(path, f"{error.thing}: {error.problem}", _UNPACK_AGAIN) from None
    return manifest


def _resolve(manifest: Path, folder: Path, name: str) -> Path:
    """Path of a listed file, if it is inside the bundle."""
    # Windows' rules are the stricter ones: backslashes separate as well, and there are drives.
    pure = PureWindowsPath(name)
    file = folder / name.replace("\0", "")
    is_outside = (
        not pure.parts
        or "\0" in name
        or bool(pure.anchor)
        or ".." in pure.parts
        or not file.resolve().is_relative_to(folder.resolve())
    )
    if is_outside:
        raise RuntimeProblem(
            manifest, f"`files` names {name!r}, outside of the bundle", _UNPACK_AGAIN
        )
    return file


def _verify(file: Path, digest: str) -> None:
    sha256 = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                sha256.update(chunk)
    except OSError as error:
        raise RuntimeProblem(file, f"cannot be read: {error.strerror}", _UNPACK_AGAIN) from None
    if sha256.hexdigest() != digest.lower():
        raise RuntimeProblem(file, "differs from the bundled file", _UNPACK_AGAIN)

"""An unpacked bundle: its manifest is validated, its files are verified against their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.protocol import ModelSource
from finch_runtime.runtimes import RUNTIMES
from finch_runtime.session import Session, open_session

FORMAT = 1
FITS = ("crop", "stretch")
"""How an image becomes a square: its center is cropped, or each side is scaled separately."""

Value = TypeVar("Value", str, int, "list[Any]", "dict[str, Any]")

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
    """Opens a model file or the model of a bundle.

    Args:
        source: What to open.
        threads: Threads of one inference; None for those of the bundle, or 1.
    """
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
    manifest = _Manifest(folder / "manifest.json")
    found = manifest.take("format", int)
    if found != FORMAT:
        raise RuntimeProblem(
            manifest.path,
            f"has format {found}, this runtime reads format {FORMAT}",
            "use the finch_runtime in the bundle",
        )
    files = manifest.take("files", dict)
    for name, digest in files.items():
        _verify(manifest, _resolve(manifest, folder, name), digest)

    model = manifest.take("model.path", str)
    weights = [Path(model).with_suffix(".bin").as_posix()] if model.endswith(".xml") else []
    for name in [model, *weights]:
        if name not in files:
            raise manifest.problem(f"`files` has no hash of {name!r}")
    labels = manifest.take("labels", list)
    if not labels or not all(isinstance(label, str) for label in labels):
        raise manifest.problem("`labels` is not a list of names")
    return Bundle(
        folder=folder,
        name=manifest.take("name", str),
        model=folder / model,
        runtime=manifest.take_one_of("model.runtime", RUNTIMES),
        threads=manifest.take_positive("threads"),
        size=_input_size(manifest),
        fit=manifest.take_one_of("input.fit", FITS),
        labels=tuple(labels),
    )


class _Manifest:
    """A manifest, whose values are validated as they are taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RuntimeProblem(
                path, "no such file", "pass the folder of an unpacked bundle as --bundle"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise self.problem(f"cannot be read: {last_line(error)}") from error
        if not isinstance(self._values, dict):
            raise self.problem("is not a JSON object")

    def problem(self, text: str) -> RuntimeProblem:
        return RuntimeProblem(self.path, text, _UNPACK_AGAIN)

    def take(self, key: str, kind: type[Value]) -> Value:
        """The value of a dotted key."""
        value: Any = self._values
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise self.problem(f"has no `{key}`")
            value = value[part]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.problem(f"`{key}` is {value!r}, not of type {kind.__name__}")
        return value

    def take_positive(self, key: str) -> int:
        value = self.take(key, int)
        if value < 1:
            raise self.problem(f"`{key}` is {value}, not 1 or more")
        return value

    def take_one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.take(key, str)
        if value not in allowed:
            raise self.problem(f"`{key}` is {value!r}, not {' or '.join(allowed)}")
        return value


def _input_size(manifest: _Manifest) -> int:
    for key, only in (("dtype", "uint8"), ("layout", "NHWC"), ("color", "RGB")):
        manifest.take_one_of(f"input.{key}", (only,))
    height, width = (manifest.take_positive(f"input.{side}") for side in ("height", "width"))
    if height != width:
        raise manifest.problem(f"the input is {height} x {width}, not square")
    return height


def _resolve(manifest: _Manifest, folder: Path, name: str) -> Path:
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
        raise manifest.problem(f"`files` names {name!r}, outside of the bundle")
    return file


def _verify(manifest: _Manifest, file: Path, digest: object) -> None:
    if not isinstance(digest, str):
        raise manifest.problem(f"the hash of {file.name!r} is not a string")
    sha256 = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                sha256.update(chunk)
    except OSError as error:
        raise RuntimeProblem(file, f"cannot be read: {error.strerror}", _UNPACK_AGAIN) from None
    if sha256.hexdigest() != digest.lower():
        raise RuntimeProblem(file, "differs from the bundled file", _UNPACK_AGAIN)

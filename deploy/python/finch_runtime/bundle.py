"""An unpacked bundle: its manifest is validated, its files are verified against their hashes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.fit import FITS
from finch_runtime.image_size import ImageSize, height_and_width, image_size
from finch_runtime.integrity import REMEDY, find_damage, find_stranger, read_manifest
from finch_runtime.protocol import ModelSource, decode
from finch_runtime.runtimes import RUNTIMES
from finch_runtime.session import MAX_SIZE, MAX_THREADS, Session, open_session

FORMAT = 1

_COLORS = {"RGB": 3, "gray": 1}


@dataclass(frozen=True)
class Bundle:
    """Contents of a bundle.

    Attributes:
        model: Model file.
        runtime: Inference runtime of the model.
        threads: Number of threads that the model was measured with.
        size: Height and width of the input in pixels, as one number if they are equal.
        fit: Resizing mode, see ``images.load_image``.
        channels: 3 for RGB images, 1 for gray ones.
        labels: One label per class, in the order of the model's outputs.
    """

    model: Path
    runtime: str
    threads: int
    size: ImageSize
    fit: str
    channels: int
    labels: tuple[str, ...]


def open_source(source: ModelSource, threads: int | None) -> tuple[Session, Bundle | None]:
    """Opens a model file or a bundle; by default with the threads of the bundle, or 1.

    Raises:
        RuntimeProblem: See ``open_session`` and ``open_bundle``; or the bundle's manifest has
            another size or number of channels than its model.
    """
    path = Path(source.path)
    if source.runtime is not None:
        return open_session(path, source.runtime, 1 if threads is None else threads), None
    bundle = open_bundle(path)
    threads = bundle.threads if threads is None else threads
    session = open_session(bundle.model, bundle.runtime, threads)
    if (session.size, session.channels) != (bundle.size, bundle.channels):
        own, of_model = (
            " x ".join(map(str, (*height_and_width(of.size), of.channels)))
            for of in (bundle, session)
        )
        problem = f"has input {own}, but its model takes {of_model}"
        raise RuntimeProblem(path / "manifest.json", problem, REMEDY)
    return session, bundle


def open_bundle(folder: Path) -> Bundle:
    """Reads a bundle and verifies every file in its manifest.

    Raises:
        RuntimeProblem: The manifest is missing, damaged or of another format, contradicts
            ``labels.txt``, or names a file outside of the bundle; a file is missing or has
            changed; or there is other code in the bundle.
    """
    manifest = _Manifest(folder / "manifest.json")
    files = manifest.value("files", dict[str, str])
    for name, digest in files.items():
        file = _resolve(manifest, folder, name)
        damage = find_damage(file, digest)
        if damage is not None:
            raise RuntimeProblem(file, damage, REMEDY)
    stranger = find_stranger(folder, files)
    if stranger is not None:
        raise RuntimeProblem(stranger, "is not part of the bundle", f"remove it, or {REMEDY}")
    model = Path(manifest.value("model.path", str))
    weights = [model.with_suffix(".bin")] if model.suffix == ".xml" else []
    for path in [model, *weights, Path("labels.txt")]:
        if path.as_posix() not in files:
            raise manifest.problem(f"`files` has no hash of {path.as_posix()!r}")
    for key, expected in (("dtype", "uint8"), ("layout", "NHWC")):
        manifest.choice(f"input.{key}", (expected,))
    height, width = (manifest.value(f"input.{side}", int) for side in ("height", "width"))
    threads, labels = manifest.value("threads", int), manifest.value("labels", list[str])
    is_input = min(height, width) >= 1 and max(height, width) <= MAX_SIZE
    if not (is_input and 1 <= threads <= MAX_THREADS and labels):
        sizes = f"{height} x {width}, {threads} threads and {len(labels)} labels"
        raise manifest.problem(f"has input {sizes}, which is out of range")
    # The names in the manifest have no hash; those in the file have.
    lines = "".join(f"{each}\n" for each in labels)
    if (folder / "labels.txt").read_bytes() != lines.encode("utf-8", "surrogatepass"):
        raise manifest.problem("`labels` are not those in labels.txt")
    return Bundle(
        model=folder / model,
        runtime=manifest.choice("model.runtime", RUNTIMES),
        threads=threads,
        size=image_size(height, width),
        fit=manifest.choice("input.fit", FITS),
        channels=_COLORS[manifest.choice("input.color", tuple(_COLORS))],
        labels=tuple(labels),
    )


class _Manifest:
    """The values in a manifest, by keys such as ``input.height``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not os.path.lexists(path):
            remedy = "pass the folder of an unpacked bundle as --bundle"
            raise RuntimeProblem(path, "no such file", remedy)
        try:
            self._values = read_manifest(path)
        except (OSError, ValueError, RecursionError) as error:
            raise self.problem(f"cannot be read: {last_line(error)}") from error
        found = self._values.get("format") if isinstance(self._values, dict) else None
        if type(found) is not int or found != FORMAT:
            problem = f"has format {found}, this runtime reads format {FORMAT}"
            raise RuntimeProblem(path, problem, "use the finch_runtime in the bundle")

    def value(self, key: str, kind: Any) -> Any:
        found = self._values
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                raise self.problem(f"`{key}` is missing")
            found = found[part]
        try:
            return decode(kind, found, f"`{key}`")
        except RuntimeProblem as error:
            raise self.problem(f"{error.thing}: {error.problem}") from None

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        found: str = self.value(key, str)
        if found not in allowed:
            raise self.problem(f"`{key}` is {found!r}, not {' or '.join(allowed)}")
        return found

    def problem(self, problem: str) -> RuntimeProblem:
        return RuntimeProblem(self._path, problem, REMEDY)


def _resolve(manifest: _Manifest, folder: Path, name: str) -> Path:
    """Path of a listed file, if it is inside the bundle."""
    # Windows' rules are the stricter ones: backslashes separate as well, and there are drives.
    pure = PureWindowsPath(name)
    try:
        real = os.path.realpath(os.fsencode(folder / name))
    except ValueError:  # a null character or a surrogate
        raise manifest.problem(f"`files` names {name!r}, which no file can have") from None
    inside = Path(os.fsdecode(real)).is_relative_to(os.path.realpath(folder))
    if not pure.parts or pure.anchor or ".." in pure.parts or not inside:
        raise manifest.problem(f"`files` names {name!r}, outside of the bundle")
    return folder / name

"""The archive to ship: model, labels, manifest and device runtime; reproducible byte for byte."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ArtifactError, DataError
from pipeline.files import atomic_file
from pipeline.plugins import RUNTIMES
from pipeline.shipping.archive import REMEDY, unpack_archive, write_archive

FORMAT = 1


@dataclass(frozen=True)
class BundleSpec:
    """Content of a bundle.

    Attributes:
        name: Name of the bundle, and of the folder in the archive.
        files: Files of the model; the runtime loads the first one.
        runtime: Inference runtime of the model.
        precision: ``fp32``, ``fp16`` or ``int8``.
        batch: ``dynamic``, or 1.
        portable: ONNX file for devices without the model's runtime; None if the model is ONNX.
        labels: Class names, in the order of the logits.
        image_size: Height and width of the input, in pixels.
        fit: How images are made square (``prepare.fit``).
        threads: Threads that the model was measured with.
        record: Further keys of the manifest on how the model was made: ``params``, ``candidates``,
            ``chosen``, ``made_from`` and ``data``.
        data_license: License of the training images as text; None to ship without it.
    """

    name: str
    files: Sequence[Path]
    runtime: str
    precision: str
    batch: Literal["dynamic", 1]
    portable: Path | None
    labels: Sequence[str]
    image_size: int
    fit: str
    threads: int
    record: Mapping[str, Any]
    data_license: str | None


def build_bundle(spec: BundleSpec, runtime_folder: Path, out: Path) -> dict[str, Any]:
    """Writes the bundle, a tar.gz whose bytes depend only on its content.

    Args:
        spec: What to pack.
        runtime_folder: Folder that contains the package ``finch_runtime``.
        out: The archive to write.

    Returns:
        The content of its ``manifest.json``.

    Raises:
        ArtifactError: A model file or the device runtime is missing, or the inference runtime is
            not installed, so that its version is unknown.
        DataError: A class name is empty or has a line break.
    """
    for label in spec.labels:
        if not label.strip() or label.splitlines() != [label]:
            raise DataError(f"class {label!r}", "is empty or has a line break in its name")
    files = {path.name: _read(path) for path in spec.files}
    if spec.portable is not None:
        files["portable.onnx"] = _read(spec.portable)
    if spec.data_license is not None:
        files["LICENSE-DATA.txt"] = spec.data_license.encode()
    files["labels.txt"] = "".join(f"{label}\n" for label in spec.labels).encode()
    files["requirements.txt"] = _requirements(spec.runtime).encode()
    files |= _runtime_files(runtime_folder)
    manifest = _manifest(spec, _hashes(files))
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files["manifest.json"] = text.encode()
    with atomic_file(out) as temporary:
        write_archive(temporary, {f"{spec.name}/{path}": files[path] for path in sorted(files)})
    return manifest


def _manifest(spec: BundleSpec, hashes: dict[str, str]) -> dict[str, Any]:
    batch = "batch" if spec.batch == "dynamic" else spec.batch
    return {
        "format": FORMAT,
        "name": spec.name,
        "created_by": f"finch {metadata.version('finch-edge')}",
        "model": {
            "path": spec.files[0].name,
            "runtime": spec.runtime,
            "precision": spec.precision,
            "batch": spec.batch,
        },
        "portable": None if spec.portable is None else "portable.onnx",
        "input": {
            "name": "images",
            "dtype": "uint8",
            "layout": "NHWC",
            "color": "RGB",
            "height": spec.image_size,
            "width": spec.image_size,
            "fit": spec.fit,
        },
        "outputs": {
            output: {"dtype": "float32", "shape": [batch, len(spec.labels)]}
            for output in ("logits", "probabilities")
        },
        "labels": list(spec.labels),
        "files": hashes,
        "threads": spec.threads,
        **spec.record,
    }


def unpack_bundle(archive: Path, folder: Path) -> Path:
    """Unpacks a bundle into a folder, and checks every file against the manifest.

    Returns:
        The folder of the bundle in ``folder``; it has the name of the bundle.

    Raises:
        ArtifactError: The archive is missing, truncated, modified or not a bundle, or the bundle's
            folder exists already.
    """
    # Next to the result, so that it can be renamed; the folder itself may be missing as yet.
    near = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    with tempfile.TemporaryDirectory(dir=near, prefix=".unpacking.") as temporary:
        hashes = unpack_archive(archive, Path(temporary))
        names = {path.partition("/")[0] for path in hashes}
        name = names.pop() if len(names) == 1 else ""
        if hashes.pop(f"{name}/manifest.json", None) is None:
            raise ArtifactError(archive, "is not a bundle: no folder with a manifest.json", REMEDY)
        present = {path.removeprefix(f"{name}/"): digest for path, digest in hashes.items()}
        _check_files(Path(temporary, name, "manifest.json"), present, archive)

        target = folder / name
        if target.exists():
            raise ArtifactError(target, "exists already", "remove it, or unpack elsewhere")
        folder.mkdir(parents=True, exist_ok=True)
        Path(temporary, name).replace(target)
    return target


def _check_files(manifest_file: Path, present: Mapping[str, str], archive: Path) -> None:
    try:
        manifest = json.loads(manifest_file.read_text("utf-8"))
        found, expected = manifest["format"], dict(manifest["files"])
    except (ValueError, TypeError, KeyError, RecursionError):
        found, expected = None, {}
    if found != FORMAT:
        raise ArtifactError(archive, f"its manifest.json does not have format {FORMAT}", REMEDY)
    for path in sorted(expected.keys() | present.keys()):
        if expected.get(path) != present.get(path):
            raise ArtifactError(archive, f"its {path} does not match the manifest", REMEDY)


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ArtifactError(path, problem, "run `python -m stages.quantize`") from None


def _requirements(runtime: str) -> str:
    try:
        names = ("numpy", "pillow", RUNTIMES[runtime].package)
        return "".join(f"{name}=={metadata.version(name)}\n" for name in names)
    except metadata.PackageNotFoundError as error:
        problem = f"cannot pin a version: {error.name} is not installed"
        raise ArtifactError(Path("requirements.txt"), problem) from None


def _runtime_files(runtime_folder: Path) -> dict[str, bytes]:
    package = runtime_folder / "finch_runtime"
    if not (package / "__main__.py").is_file():
        raise ArtifactError(package, "is not the device runtime: __main__.py is missing")
    return {
        path.relative_to(runtime_folder).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

"""The archive to ship: model, labels, manifest and device runtime; reproducible byte for byte."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from finch_runtime.image_size import ImageSize

from pipeline.errors import ArtifactError, DataError
from pipeline.export.onnx_metadata import input_contract
from pipeline.files import atomic_file
from pipeline.shipping.archive import REMEDY, unpack_archive, write_archive
from pipeline.shipping.readme import Commit, bundle_readme

FORMAT = 1


@dataclass(frozen=True)
class BundleSpec:
    """Content of a bundle.

    Attributes:
        name: Name of the bundle, and of the folder in the archive.
        files: Files of the model; the runtime loads the first one.
        hashes: SHA-256 of each of ``files`` and of ``portable`` as they were measured.
        runtime: Inference runtime of the model.
        precision: ``fp32``, ``fp16`` or ``int8``.
        batch: ``dynamic``, or 1.
        portable: ONNX file for devices without the model's runtime; None if the model is ONNX.
        labels: Class names, in the order of the logits.
        image_size: Size of the input.
        channels: 3 for RGB images, 1 for gray ones.
        fit: How images get this size (``prepare.fit``).
        threads: Threads that the model was measured with.
        requirements: Content of ``requirements.txt``.
        record: Further keys of the manifest on how the model was made: ``params``, ``candidates``,
            ``chosen``, ``verdict``, ``measured_with``, ``made_from`` and ``data``.
        data_license: License of the training images as text; None to ship without it.
        commit: Commit of the project that the model was made in; None if unknown.
    """

    name: str
    files: Sequence[Path]
    hashes: Mapping[Path, str]
    runtime: str
    precision: str
    batch: Literal["dynamic", 1]
    portable: Path | None
    labels: Sequence[str]
    image_size: ImageSize
    channels: int
    fit: str
    threads: int
    requirements: str
    record: Mapping[str, Any]
    data_license: str | None
    commit: Commit | None = None


def build_bundle(spec: BundleSpec, runtime_folder: Path, out: Path) -> dict[str, Any]:
    """Writes the bundle, a tar.gz whose bytes depend only on its content.

    Args:
        spec: What to pack.
        runtime_folder: Folder that contains the package ``finch_runtime``.
        out: The archive to write.

    Returns:
        The content of its ``manifest.json``.

    Raises:
        ArtifactError: A model file or the device runtime is missing, or a model file is not the
            one that was measured.
        DataError: A class name is empty, has a line break or is not UTF-8.
    """
    for label in spec.labels:
        if not label.strip() or label.splitlines() != [label]:
            raise DataError(f"class {label!r}", "is empty or has a line break in its name")
        if any("\ud800" <= character <= "\udfff" for character in label):
            remedy = "rename its folder, then run `finch prepare`"
            raise DataError(f"class {label!r}", "has a name that is not UTF-8", remedy)
    files = {path.name: _read(path, spec.hashes[path]) for path in spec.files}
    if spec.portable is not None:
        files["portable.onnx"] = _read(spec.portable, spec.hashes[spec.portable])
    if spec.data_license is not None:
        files["LICENSE-DATA.txt"] = spec.data_license.encode()
    files["labels.txt"] = "".join(f"{label}\n" for label in spec.labels).encode()
    files["requirements.txt"] = spec.requirements.encode()
    files["README.md"] = bundle_readme(
        spec.name,
        classes=len(spec.labels),
        image_size=spec.image_size,
        channels=spec.channels,
        model=f"{spec.runtime}, {spec.precision}",
        made_by=_made_by(),
        commit=spec.commit,
        has_data_license=spec.data_license is not None,
    ).encode()
    files |= _runtime_files(runtime_folder)
    manifest = _manifest(spec, _hashes(files))
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files["manifest.json"] = text.encode()
    with atomic_file(out) as temporary:
        write_archive(temporary, {f"{spec.name}/{path}": files[path] for path in sorted(files)})
    return manifest


def _made_by() -> str:
    return f"finch {metadata.version('finch-edge')}"


def _manifest(spec: BundleSpec, hashes: dict[str, str]) -> dict[str, Any]:
    batch = "batch" if spec.batch == "dynamic" else spec.batch
    return {
        "format": FORMAT,
        "name": spec.name,
        "created_by": _made_by(),
        "commit": None if spec.commit is None else asdict(spec.commit),
        "model": {
            "path": spec.files[0].name,
            "runtime": spec.runtime,
            "precision": spec.precision,
            "batch": spec.batch,
        },
        "portable": None if spec.portable is None else "portable.onnx",
        "input": input_contract(spec.image_size, spec.channels, spec.fit),
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


def _read(path: Path, measured: str) -> bytes:
    """Reads a file whole and hashes what was read, so that no other bytes can be packed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != measured:
        problem = f"is {digest[:12]}, which is not the file that was measured, {measured[:12]}"
        raise ArtifactError(path, problem)
    return content


def _runtime_files(runtime_folder: Path) -> dict[str, bytes]:
    package = runtime_folder / "finch_runtime"
    if not (package / "__main__.py").is_file():
        raise ArtifactError(package, "is not the device runtime: __main__.py is missing")
    return {
        path.relative_to(runtime_folder).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

"""The archive that ships: model, labels, manifest and device runtime, the same bytes every time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ArtefactError, DataError
from pipeline.files import hash_file, whole_file

FORMAT = 1
PACKAGE = "finch_runtime"
_REMEDY = "run `python -m stages.bundle`"


@dataclass(frozen=True)
class Winner:
    """The candidate that ships.

    Attributes:
        model: ``.onnx`` file, or ``.xml`` file with its ``.bin`` beside it.
        runtime: Inference runtime.
        precision: ``fp32``, ``fp16`` or ``int8``.
        batch: ``dynamic``, or 1.
    """

    model: Path
    runtime: Literal["onnxruntime", "openvino"]
    precision: str
    batch: Literal["dynamic", 1]


@dataclass(frozen=True)
class Record:
    """What the manifest tells about how the model came to be; every value is plain JSON.

    Attributes:
        params: The parameters of the run.
        candidates: Measurements and verdict of every candidate.
        chosen: ``name`` of the candidate and the ``reason`` for it.
        made_from: Hashes of what the model was made from.
        data: ``source`` and ``licence`` of the photographs.
    """

    params: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]
    chosen: Mapping[str, str]
    made_from: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class BundleResult:
    """A bundle that was written.

    Attributes:
        path: The archive.
        bytes: Its size.
        sha256: Its hash.
        model_bytes: Size of the shipped model's files, unpacked.
        manifest: What ``manifest.json`` in it holds.
    """

    path: Path
    bytes: int
    sha256: str
    model_bytes: int
    manifest: dict[str, Any]


def build_bundle(
    *,
    name: str,
    created_by: str,
    winner: Winner,
    portable: Path | None,
    labels: Sequence[str],
    image_size: int,
    fit: str,
    threads: int,
    record: Record,
    data_licence: str | None,
    runtime_folder: Path,
    out: Path,
) -> BundleResult:
    """Writes the bundle: a tar.gz whose bytes depend on its content alone.

    Args:
        name: Name of the bundle, and of the one folder in the archive.
        created_by: ``finch <version>``.
        winner: The model that ships.
        portable: ONNX file for devices without the winner's runtime; None when the winner is ONNX.
        labels: Class names in the order of the logits.
        image_size: Height and width of the input in pixels.
        fit: How a photograph becomes square (see ``Prepare.fit``).
        threads: Threads the model was measured with.
        record: How the model came to be.
        data_licence: Licence text of the photographs, if it must go along.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        out: The archive to write.

    Raises:
        ArtefactError: A model file or the device runtime is missing, or its inference runtime is
            not installed, so that there is no version to name.
        DataError: A class name cannot stand on a line of its own.
    """
    for label in labels:
        if not label.strip() or label.splitlines() != [label]:
            raise DataError(f"class {label!r}", "is empty or has a line break in its name")
    model_files = [winner.model]
    if winner.runtime == "openvino":
        model_files.append(winner.model.with_suffix(".bin"))
    files = {f"model{path.suffix}": _read(path) for path in model_files}
    model_bytes = sum(len(content) for content in files.values())
    if portable is not None:
        files["portable.onnx"] = _read(portable)
    if data_licence is not None:
        files["LICENSE-DATA.txt"] = data_licence.encode()
    files["labels.txt"] = "".join(f"{label}\n" for label in labels).encode()
    files["requirements.txt"] = _requirements(winner.runtime).encode()
    files |= _runtime_files(runtime_folder)

    batch = "batch" if winner.batch == "dynamic" else winner.batch
    manifest = {
        "format": FORMAT,
        "name": name,
        "created_by": created_by,
        "model": {
            "path": f"model{winner.model.suffix}",
            "runtime": winner.runtime,
            "precision": winner.precision,
            "batch": winner.batch,
        },
        "portable": None if portable is None else "portable.onnx",
        "input": {
            "name": "images",
            "dtype": "uint8",
            "layout": "NHWC",
            "color": "RGB",
            "height": image_size,
            "width": image_size,
            "fit": fit,
        },
        "outputs": {
            output: {"dtype": "float32", "shape": [batch, len(labels)]}
            for output in ("logits", "probabilities")
        },
        "labels": list(labels),
        "files": {path: _sha256(files[path]) for path in sorted(files)},
        "threads": threads,
        "params": record.params,
        "candidates": list(record.candidates),
        "chosen": record.chosen,
        "made_from": record.made_from,
        "data": record.data,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files["manifest.json"] = text.encode()
    with whole_file(out) as temporary:
        _write_archive(temporary, {f"{name}/{path}": files[path] for path in sorted(files)})
    return BundleResult(
        path=out,
        bytes=out.stat().st_size,
        sha256=hash_file(out),
        model_bytes=model_bytes,
        manifest=json.loads(text),
    )


def unpack_bundle(archive: Path, folder: Path) -> Path:
    """Unpacks a bundle and checks every file against its manifest.

    Args:
        archive: What ``build_bundle`` wrote.
        folder: Where the bundle's own folder is to stand.

    Returns:
        The bundle's folder, named as the bundle.

    Raises:
        ArtefactError: The archive is missing, truncated, changed or no bundle, or there is already
            something in the place of the bundle's folder.
    """
    files = _read_archive(archive)
    names = {name.partition("/")[0] for name in files}
    name = names.pop() if len(names) == 1 else ""
    if f"{name}/manifest.json" not in files:
        raise ArtefactError(archive, "is no bundle: no folder with a manifest.json", _REMEDY)
    _check_files({path.removeprefix(f"{name}/"): files[path] for path in files}, archive)

    target = folder / name
    if target.exists():
        raise ArtefactError(target, "is in the way of unpacking", "remove it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking.") as temporary:
        for path, content in files.items():
            place = Path(temporary, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        Path(temporary, name).replace(target)
    return target


def _check_files(files: Mapping[str, bytes], archive: Path) -> None:
    try:
        manifest = json.loads(files["manifest.json"])
        readable, expected = manifest["format"] == FORMAT, dict(manifest["files"])
    except (ValueError, TypeError, KeyError):
        readable, expected = False, {}
    if not readable:
        raise ArtefactError(archive, f"its manifest.json is not of format {FORMAT}", _REMEDY)
    present = {path: _sha256(files[path]) for path in files if path != "manifest.json"}
    for path in sorted(expected.keys() | present.keys()):
        if expected.get(path) != present.get(path):
            raise ArtefactError(archive, f"{path} in it is not what its manifest says", _REMEDY)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            path, f"cannot be read ({error.strerror})", "run `python -m stages.quantize`"
        ) from None


def _requirements(runtime: str) -> str:
    try:
        return "".join(f"{n}=={metadata.version(n)}\n" for n in ("numpy", "pillow", runtime))
    except metadata.PackageNotFoundError as error:
        raise ArtefactError(
            Path("requirements.txt"), f"no version to pin: {error.name} is not installed here"
        ) from None


def _runtime_files(runtime_folder: Path) -> dict[str, bytes]:
    package = runtime_folder / PACKAGE
    if not (package / "__main__.py").is_file():
        raise ArtefactError(package, "is not the device runtime: it has no __main__.py")
    return {
        path.relative_to(runtime_folder).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    # Neither the time, nor the user, nor the name of the file may get into the bytes.
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))


def _read_archive(path: Path) -> dict[str, bytes]:
    files = {}
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                # Links, devices and names that lead elsewhere have no place in a bundle. (tarfile's
                # own filters came with Python 3.11.4, and had a hole in their handling of links.)
                if content is None or not _stays_inside(member.name):
                    raise ArtefactError(path, f"{member.name} in it is no plain file", _REMEDY)
                files[member.name] = content.read()
            # The checksum stands at the very end, behind what tar reads.
            while stream.read(1 << 20):
                pass
    except FileNotFoundError:
        raise ArtefactError(path, "is missing", _REMEDY) from None
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        problem = f"is truncated, damaged or no bundle ({error})"
        raise ArtefactError(path, problem, _REMEDY) from None
    return files


def _stays_inside(name: str) -> bool:
    return not {"", ".", ".."} & set(name.split("/")) and not {"\\", ":"} & set(name)

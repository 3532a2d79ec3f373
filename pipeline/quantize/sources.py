"""The exported files that candidates are made from, and the check of where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ArtifactError
from pipeline.export.onnx_metadata import read_made_from
from pipeline.files import hash_file, parse_artifact, read_artifact, read_json
from pipeline.provenance import check_inputs

_NAMES = ("student.onnx", "student-b1.onnx")


@dataclass(frozen=True)
class Sources:
    """What all candidates were made from.

    Attributes:
        data: Fingerprint of the prepared data, of which images are used for calibration.
        student: SHA-256 of the student's weights.
        onnx: SHA-256 of each exported file of the student, by file name.
        qat: The same of the QDQ files; empty if no candidate is made from them.
    """

    data: str
    student: str
    onnx: dict[str, str]
    qat: dict[str, str]


@dataclass(frozen=True)
class _Compared:
    """What is read of a file in ``parity.json``."""

    sha256: str


@dataclass(frozen=True)
class QATRecord:
    """What ``qat.json`` records of its inputs and files, see ``Sources`` and ``StudentRecord``."""

    student: str
    data: str
    cache: str
    files: dict[str, str]


def read_sources(onnx: Path, parity: Path, qat: Path | None, data: str) -> Sources:
    """Checks the exported files.

    Args:
        onnx: Folder of the exported student.
        parity: The file ``parity.json``, with the hashes of the files that were compared.
        qat: Folder of the QDQ files; None if no candidate is made from them.
        data: Fingerprint of the prepared data.

    Raises:
        ArtifactError: A file is missing or damaged, is not the one that was compared with PyTorch,
            or was made from other data or another student.
    """
    compared = read_artifact(parity, dict[str, _Compared])
    hashes = {}
    for name in _NAMES:
        path = onnx / name
        student = read_made_from(path, data=data).model
        hashes[name], listed = hash_file(path), compared.get(path.stem)
        key = "/".join(path.parts[-3:])  # as messages name it
        check_inputs(parity, {key: listed and listed.sha256}, **{key: hashes[name]})
    files = {} if qat is None else _read_qat(qat, student, data)
    return Sources(data, student, hashes, files)


def _read_qat(folder: Path, student: str, data: str) -> dict[str, str]:
    path = folder / "qat.json"
    info = read_json(path)
    if info.get("epochs") == 0:
        remedy = "set qat.epochs to 1 or more, then run `finch qat`"
        raise ArtifactError(path, "has no model: it was made with qat.epochs 0", remedy)
    record = parse_artifact(path, QATRecord, info)
    check_inputs(path, {"student": record.student, "data": record.data}, student=student, data=data)
    for name in _NAMES:
        file = folder / name
        key = "/".join(file.parts[-3:])
        check_inputs(path, {key: record.files.get(name)}, **{key: hash_file(file)})
    return {name: record.files[name] for name in _NAMES}

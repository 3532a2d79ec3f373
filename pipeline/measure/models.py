"""The models to measure: the files that ``candidates.json`` lists, and the teacher."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError
from pipeline.export.onnx_metadata import read_made_from
from pipeline.files import hash_file, read_artifact
from pipeline.measure.evaluation import ModelInfo
from pipeline.measure.runtime import MeasuredModel
from pipeline.provenance import check_inputs

TEACHER = "teacher"


@dataclass(frozen=True)
class EvaluationInputs:
    """Files to evaluate.

    Attributes:
        candidates: Folder that ``make_candidates`` wrote.
        teacher: Exported teacher.
        data: Prepared data; only the validation split is used.
        runtime: Folder that contains the package ``finch_runtime``.
    """

    candidates: Path
    teacher: Path
    data: PreparedData
    runtime: Path


@dataclass(frozen=True)
class ListedCandidate:
    """What is read of a candidate in ``candidates.json``."""

    name: str
    runtime: str
    precision: str
    batch: str | int
    runtime_version: str
    model: str
    files: dict[str, str]
    bytes: int


@dataclass(frozen=True)
class CandidateIndex:
    """What is read of ``candidates.json``; ``made_from`` has the hashes of its inputs."""

    candidates: list[ListedCandidate]
    reference: str
    made_from: dict[str, Any] = field(default_factory=dict)


def check_origin(inputs: EvaluationInputs) -> None:
    """Checks that candidates and teacher learned from the data that they are measured with.

    Raises:
        ArtifactError: They were made from other data, or do not record it.
    """
    path = inputs.candidates / "candidates.json"
    data = inputs.data.fingerprint
    check_inputs(path, read_artifact(path, CandidateIndex).made_from, data=data)
    read_made_from(inputs.teacher, data=data)


def find_models(
    inputs: EvaluationInputs,
) -> tuple[CandidateIndex, dict[str, ModelInfo], dict[str, MeasuredModel]]:
    """The candidates, then the teacher, by name, with the hashes of their files as they are now.

    Raises:
        ArtifactError: A file is missing, or is not the one that ``candidates.json`` lists.
    """
    path = inputs.candidates / "candidates.json"
    index = read_artifact(path, CandidateIndex)
    models: dict[str, MeasuredModel] = {}
    infos: dict[str, ModelInfo] = {}
    for c in index.candidates:
        files = {name: hash_file(inputs.candidates / name) for name in c.files}
        for name, digest in files.items():
            if digest != c.files[name]:
                problem = f"is {digest[:12]}, but {path.name} lists {c.files[name][:12]}"
                raise ArtifactError(inputs.candidates / name, problem)
        if c.model not in files:
            raise ArtifactError(path, f"does not list the file {c.model} of {c.name}")
        models[c.name] = MeasuredModel(inputs.candidates / c.model, c.runtime)
        about = (c.name, c.runtime, c.precision, c.batch, c.bytes)
        infos[c.name] = ModelInfo(*about, files=files)
    if index.reference not in models:
        raise ArtifactError(path, f"does not list its reference {index.reference}")
    files = {inputs.teacher.name: hash_file(inputs.teacher)}
    size = inputs.teacher.stat().st_size
    models[TEACHER] = MeasuredModel(inputs.teacher, "onnxruntime")
    infos[TEACHER] = ModelInfo(TEACHER, "onnxruntime", "fp32", "dynamic", size, files=files)
    return index, infos, models

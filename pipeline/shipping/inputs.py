"""The inputs of a bundle, and the check that they belong together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.data.prepared import PreparedData, open_prepared
from pipeline.errors import ArtifactError
from pipeline.files import hash_file, read_artifact
from pipeline.measure.evaluation import Evaluation
from pipeline.measure.models import TEACHER
from pipeline.measure.runtime import DeviceRuntime
from pipeline.models.record import StudentRecord, read_student
from pipeline.provenance import check_inputs
from pipeline.quantize.candidates import CandidateSet, MadeCandidate
from pipeline.shipping.manifest import MadeFrom, by_place


@dataclass(frozen=True)
class BundleInputs:
    """Artifacts that were made from each other.

    Attributes:
        data: Prepared data.
        student: Record of the student.
        made: Content of ``candidates.json``.
        onnx: SHA-256 of ``student.onnx`` and of ``teacher.onnx``.
        runtime: ``DeviceRuntime.content_hash`` of the device runtime.
    """

    data: PreparedData
    student: StudentRecord
    made: CandidateSet
    onnx: dict[str, str]
    runtime: str

    def candidate(self, name: str) -> MadeCandidate:
        """The candidate with this name; it must be one of the evaluation."""
        return next(candidate for candidate in self.made.candidates if candidate.name == name)

    def made_from(self, chosen: MadeCandidate, evaluated: Path) -> MadeFrom:
        """The record of the manifest, for a candidate and the file of the evaluation."""
        student = self.student
        return MadeFrom(
            data=self.data.fingerprint,
            teacher=student.teacher_logits.teacher,
            views=student.teacher_logits.views,
            cache=student.cache,
            student=student.weights_sha256,
            code=student.code,
            onnx=self.onnx,
            model=chosen.files,
            evaluation=hash_file(evaluated),
            runtime=self.runtime,
        )


def read_inputs(
    evaluation: Evaluation,
    *,
    evaluated: Path,
    prepared: Path,
    student: Path,
    exported: Path,
    candidates: Path,
    runtime: Path,
) -> BundleInputs:
    """Reads all inputs of a bundle but the model, and compares what they were made from.

    Args:
        evaluation: Content of the file ``evaluated``.
        evaluated: The evaluation, for error messages.
        prepared: Folder of the prepared data.
        student: Folder of the student.
        exported: ``student.onnx``.
        candidates: Folder of the candidates.
        runtime: Folder that contains the package ``finch_runtime``.

    Raises:
        ArtifactError: A file is missing or damaged, or was made from other inputs than the present
            ones. The message has both hashes.
    """
    data = open_prepared(prepared)
    record = read_student(student, data.fingerprint)
    listed = candidates / "candidates.json"
    made = read_artifact(listed, CandidateSet)
    onnx = {exported.name: hash_file(exported)}
    sources = {} if made.made_from is None else asdict(made.made_from)
    check_inputs(listed, sources, data=data.fingerprint, student=record.weights_sha256)
    check_inputs(listed, by_place(sources["onnx"], "onnx"), **by_place(onnx, "onnx"))
    content = DeviceRuntime(runtime).content_hash()
    measured_with = {"data": evaluation.data, "runtime": evaluation.runtime}
    check_inputs(evaluated, measured_with, data=data.fingerprint, runtime=content)
    teacher = _check_models(evaluation, evaluated, made)
    return BundleInputs(data, record, made, onnx | teacher, content)


def _check_models(evaluation: Evaluation, path: Path, made: CandidateSet) -> dict[str, str]:
    """Checks that exactly the present candidates were measured; returns the teacher's hash."""
    models = {m.name: m for m in (*evaluation.measured, *evaluation.not_run)}
    teacher = models.pop(TEACHER, None)
    listed = {candidate.name for candidate in made.candidates}
    for name in sorted(models.keys() ^ listed):
        which = "which candidates.json does not list" if name in models else "without measurements"
        raise ArtifactError(path, f"does not match models/candidates: {name}, {which}")
    if evaluation.reference != made.reference:
        problem = f"compares with {evaluation.reference}, but the reference is {made.reference}"
        raise ArtifactError(path, problem)
    for candidate in made.candidates:
        measured = models[candidate.name].files
        if measured.keys() - candidate.files.keys():
            raise ArtifactError(path, f"measured other files of {candidate.name} than are listed")
        measured_files = by_place(measured, "candidates")
        check_inputs(path, measured_files, **by_place(candidate.files, "candidates"))
    if teacher is None or not teacher.files:
        raise ArtifactError(path, "does not record models/onnx/teacher.onnx")
    return dict(teacher.files)

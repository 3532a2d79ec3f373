"""Reads the data of the report page, and checks that all files belong to one run."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.class_metrics import Metric
from pipeline.data.prepared import DatasetInfo, Split, open_prepared
from pipeline.errors import ArtifactError
from pipeline.files import hash_file, parse_artifact, read_artifact
from pipeline.measure.evaluation import Evaluation, read_device, read_evaluation
from pipeline.models.record import ModelRecord, StudentRecord, read_student, read_teacher
from pipeline.params import Finetune, params_model
from pipeline.provenance import check_inputs
from pipeline.report.artifacts import QAT, CandidateIndex, Parity, RunParams, TrainingFigures
from pipeline.report.facts import Facts, Training
from pipeline.shipping.answers import Answers, read_answers
from pipeline.shipping.manifest import Manifest
from pipeline.shipping.verify import Verification

Files = Mapping[str, str]
"""SHA-256 by file name."""


@dataclass(frozen=True)
class ReportInputs:
    """Folders of the earlier stages, and the manifest of the bundle."""

    prepared: Path
    teacher: Path
    student: Path
    qat: Path
    candidates: Path
    reports: Path
    manifest: Path


def read_facts(inputs: ReportInputs) -> Facts:
    """Reads the files of the earlier stages.

    Raises:
        ArtifactError: A file is missing or damaged, or was made from other inputs than the present
            ones.
        DeviceError: The device that the bundle was selected for could not be reached.
    """
    prepared = open_prepared(inputs.prepared)
    dataset, data = prepared.info, prepared.fingerprint
    teacher = read_teacher(inputs.teacher, data)
    student = read_student(inputs.student, data, teacher=teacher.sha256)
    _check_order(inputs.student / "model.json", student, dataset)
    parity = _read_parity(inputs.reports / "parity.json")
    candidates = _read_candidates(inputs, student, parity)
    qat = _read_qat(inputs, student, candidates)
    manifest = read_artifact(inputs.manifest, Manifest)
    made_from = vars(manifest.made_from)
    device = manifest.chosen.device
    evaluations = _read_evaluations(inputs, device, candidates, parity, data)
    evaluation = evaluations.pop(device)
    _check_manifest(inputs, manifest, evaluation)
    check_inputs(
        inputs.manifest,
        made_from,
        data=data,
        teacher=teacher.sha256,
        student=student.weights_sha256,
        evaluation=hash_file(inputs.reports / "evaluations" / f"{device}.json"),
    )
    _check_files(inputs.manifest, made_from, "onnx", _exported(parity, "student", "teacher"))
    shipped = next(c for c in candidates.candidates if c.name == manifest.chosen.name)
    _check_files(inputs.manifest, made_from, "model", shipped.files)
    verified = _read_verification(inputs, manifest, dataset)
    test = prepared.split("test", student.image_size)
    distill: Any = params_model().model_fields["distill"].annotation
    return Facts(
        dataset=dataset,
        teacher=_read_training(inputs.reports, inputs.teacher, teacher, Finetune),
        student=_read_training(inputs.reports, inputs.student, student, distill),
        class_order=student.class_order,
        parity=parity,
        evaluation=evaluation,
        other_devices=list(evaluations.values()),
        manifest=manifest,
        params=parse_artifact(inputs.manifest, RunParams, manifest.params),
        verified=verified,
        answers=_read_answers(inputs.reports / "test_answers.csv", verified, dataset.classes, test),
        test=test,
        candidates=candidates,
        qat=qat,
    )


def _check_order(path: Path, student: StudentRecord, dataset: DatasetInfo) -> None:
    if sorted(student.class_order.order) != list(range(len(dataset.classes))):
        raise ArtifactError(path, f"its class order is not one of {len(dataset.classes)} classes")


def _read_parity(path: Path) -> dict[str, Parity]:
    parity = read_artifact(path, dict[str, Parity])
    for name in ("teacher", "student"):
        if name not in parity:
            raise ArtifactError(path, f"lacks {name}.onnx")
    return parity


def _exported(parity: Mapping[str, Parity], *names: str) -> dict[str, str]:
    return {f"{name}.onnx": parity[name].sha256 for name in names}


def _read_candidates(
    inputs: ReportInputs, student: StudentRecord, parity: Mapping[str, Parity]
) -> CandidateIndex:
    path = inputs.candidates / "candidates.json"
    found = read_artifact(path, CandidateIndex)
    check_inputs(path, found.made_from, data=student.data, student=student.weights_sha256)
    names = [name for name in parity if name != "teacher"]
    _check_files(path, found.made_from, "onnx", _exported(parity, *names))
    return found


def _read_qat(
    inputs: ReportInputs, student: StudentRecord, candidates: CandidateIndex
) -> QAT | None:
    if not any(candidate.options.get("method") == "qat" for candidate in candidates.candidates):
        return None
    path = inputs.qat / "qat.json"
    qat = read_artifact(path, QAT)
    check_inputs(
        path,
        {"data": qat.data, "student": qat.student, "teacher_logits": qat.cache},
        data=student.data,
        student=student.weights_sha256,
        teacher_logits=student.cache,
    )
    index = inputs.candidates / "candidates.json"
    _check_files(index, candidates.made_from, "qat", qat.files)
    return qat


def _read_evaluations(
    inputs: ReportInputs,
    device: str,
    candidates: CandidateIndex,
    parity: Mapping[str, Parity],
    data: str,
) -> dict[str, Evaluation]:
    """The measurements of all devices, by name; ``device`` is among them."""
    folder = inputs.reports / "evaluations"
    found = {device: read_device(inputs.reports, device)}
    others = sorted(path for path in folder.glob("*.json") if path.stem != device)
    found |= {path.stem: read_evaluation(path) for path in others}
    present = {c.name: c.files for c in candidates.candidates}
    present["teacher"] = _exported(parity, "teacher")
    for name, evaluation in found.items():
        path = folder / f"{name}.json"
        check_inputs(path, {"data": evaluation.data}, data=data)
        for m in (*evaluation.measured, *evaluation.not_run):
            if m.name not in present:
                raise ArtifactError(path, f"has {m.name}, which candidates.json does not list")
            check_inputs(path, m.files, **present[m.name])
        names = [m.name for m in (*evaluation.measured, *evaluation.not_run)]
        if sorted(names) != sorted(present):
            missing = ", ".join(sorted(present.keys() - set(names))) or "a model twice"
            raise ArtifactError(path, f"does not have each model once: {missing}")
        if evaluation.reference not in {m.name for m in evaluation.candidates}:
            raise ArtifactError(path, f"has no measurement of {evaluation.reference}")
    return found


def _check_manifest(inputs: ReportInputs, manifest: Manifest, evaluation: Evaluation) -> None:
    measured = {m.name for m in evaluation.candidates}
    if manifest.chosen.name not in measured:
        problem = f"contains {manifest.chosen.name}, which {evaluation.device} did not measure"
        raise ArtifactError(inputs.manifest, problem)
    if without := measured - {verdict.name for verdict in manifest.candidates}:
        raise ArtifactError(inputs.manifest, f"has no verdict on {min(without)}")


def _check_files(path: Path, recorded: Mapping[str, Any], key: str, present: Files) -> None:
    """Checks the hashes of files that an artifact was made from, under one key of its record."""
    files = recorded.get(key)
    check_inputs(path, files if isinstance(files, dict) else {}, **present)


def _read_verification(
    inputs: ReportInputs, manifest: Manifest, dataset: DatasetInfo
) -> Verification:
    path, archive = (
        inputs.reports / "verify.json",
        inputs.manifest.parent / f"{manifest.name}.tar.gz",
    )
    verified = read_artifact(path, Verification)
    check_inputs(
        path,
        {"data": verified.data, archive.name: verified.bundle_sha256},
        **{"data": dataset.fingerprint, archive.name: hash_file(archive)},
    )
    if verified.candidate != manifest.chosen.name:
        problem = f"is for {verified.candidate}, but the bundle contains {manifest.chosen.name}"
        raise ArtifactError(path, problem)
    for model in (verified.shipped, verified.student, verified.teacher):
        if len(model.recalls) != len(dataset.classes):
            problem = f"has {len(model.recalls)} recalls for {len(dataset.classes)} classes"
            raise ArtifactError(path, problem)
    return verified


def _read_answers(
    path: Path, verified: Verification, classes: Sequence[str], test: Split
) -> Answers:
    answers = read_answers(path, classes)
    recorded, present = verified.answers_sha256, hash_file(path)
    if recorded != present:
        problem = f"is {present[:12]}, but verify.json records {recorded[:12]}"
        raise ArtifactError(path, problem)
    if answers.labels.tolist() != test.labels.tolist():
        raise ArtifactError(path, "has other labels than the test images", "run `finch verify`")
    return answers


def _read_training(reports: Path, model: Path, record: ModelRecord, recipe: Any) -> Training[Any]:
    name = model.name
    figures, history = reports / f"{name}.json", reports / f"{name}_history.csv"
    made_with = parse_artifact(model / "model.json", recipe, record.recipe)
    found = Training(
        read_artifact(figures, TrainingFigures),
        _read_history(history, made_with.keep_by),
        made_with,
    )
    for path in (figures, history):
        recorded, present = record.reports.get(path.name, "missing"), hash_file(path)
        if recorded != present:
            problem = f"is {present[:12]}, but {name}/model.json records {recorded[:12]}"
            raise ArtifactError(path, problem)
    if found.figures.best_epoch not in {row["epoch"] for row in found.history}:
        raise ArtifactError(history, f"lacks epoch {found.figures.best_epoch}, the best one")
    return found


def _read_history(path: Path, metric: Metric) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            # The loss of epoch 0, of weights that were not trained, is empty.
            rows = [
                {key: float(row[key]) for key in row if (key, row[key]) != ("loss", "")}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise ArtifactError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ArtifactError(path, "contains no epochs")
    needed = {"epoch", f"val_{metric}"} | ({"loss"} if rows[0].get("epoch") else set())
    if missing := needed - rows[0].keys():
        raise ArtifactError(path, f"has no column {min(missing)}")
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        raise ArtifactError(path, "has a value that is not a finite number")
    return rows

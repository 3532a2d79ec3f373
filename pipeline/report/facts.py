"""Everything that the report page shows, read from the files of the stages before it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtefactError
from pipeline.files import hash_file, read_json
from pipeline.measure.evaluation import Evaluation, Measured, read_evaluation
from pipeline.measure.host import Host
from pipeline.shipping.verify import Verification
from pipeline.statistics import LatencyRatio, paired_ratio

T = TypeVar("T")


@dataclass(frozen=True)
class Training:
    """Training of one network.

    Attributes:
        figures: Validation metrics of the best epoch, ``multiply_adds`` and ``parameters``.
        history: One row per epoch: ``epoch``, ``loss``, its terms by name, ``val_accuracy``.
        recipe: Parameters of the training stage.
    """

    figures: Mapping[str, float]
    history: list[dict[str, float]]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class DeviceEvaluation:
    """Measurements on the validation images, and the device that they were made on."""

    evaluation: Evaluation
    host: Host


@dataclass(frozen=True)
class Facts:
    """Everything that the page shows.

    Attributes:
        dataset: ``dataset.json`` of the prepared data.
        teacher: Training of the teacher.
        student: Training of the student.
        class_order: ``order`` of the class indices, and ``sha256`` of the names in that order.
        parity: Number of ``images`` and ``differences`` from PyTorch, per exported file.
        selected_on: Measurements that the selection is based on.
        other_devices: Measurements on all other devices.
        manifest: ``manifest.json`` of the bundle.
        verified: Acceptance test on the test images.
        candidates: ``candidates.json``.
        qat: ``qat.json``; None if no candidate comes from quantization-aware training.
    """

    dataset: Mapping[str, Any]
    teacher: Training
    student: Training
    class_order: Mapping[str, Any]
    parity: Mapping[str, Any]
    selected_on: DeviceEvaluation
    other_devices: list[DeviceEvaluation]
    manifest: Mapping[str, Any]
    verified: Verification
    candidates: Mapping[str, Any]
    qat: Mapping[str, Any] | None

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the run, by section."""
        params: Mapping[str, Any] = self.manifest["params"]
        return params

    @property
    def evaluation(self) -> Evaluation:
        """Measurements that the selection is based on."""
        return self.selected_on.evaluation

    @property
    def host(self) -> Host:
        """Device that the selection is based on."""
        return self.selected_on.host

    @property
    def measured_teacher(self) -> Measured:
        """Measurements of the teacher; ``read_facts`` ensures that they exist."""
        assert self.evaluation.teacher is not None
        return self.evaluation.teacher

    @property
    def shipped(self) -> Measured:
        """Measurements of the shipped candidate."""
        return self._measured(self.manifest["chosen"]["name"])

    @property
    def fp32(self) -> Measured:
        """Measurements of the fp32 student, the reference of the candidates."""
        return self._measured(self.evaluation.reference)

    @property
    def speedup(self) -> LatencyRatio:
        """Latency of the teacher divided by that of the shipped model."""
        teacher, shipped = self.measured_teacher.latency, self.shipped.latency
        return paired_ratio(teacher.round_ratios, shipped.round_ratios)

    def verdict(self, name: str) -> Mapping[str, Any]:
        """``status`` and ``reason`` of a candidate."""
        verdict: Mapping[str, Any] = next(
            candidate for candidate in self.manifest["candidates"] if candidate["name"] == name
        )
        return verdict

    def _measured(self, name: str) -> Measured:
        return next(m for m in self.evaluation.candidates if m.name == name)


def read_facts(
    *, prepared: Path, student: Path, qat: Path, candidates: Path, reports: Path, manifest: Path
) -> Facts:
    """Reads the files of the earlier stages from their folders, and the manifest of the bundle.

    Raises:
        ArtefactError: A file is missing or broken, or the bundle was made from other files.
    """
    dataset = read_json(prepared / "dataset.json")
    student_info = read_json(student / "model.json")
    bundle = read_json(manifest)
    evaluation_path = reports / "evaluations" / f"{bundle['params']['bundle']['device']}.json"
    selected_on = _read_device(evaluation_path)
    if selected_on.evaluation.teacher is None:
        raise ArtefactError(
            evaluation_path,
            "has no measurements of the teacher, which this device cannot run",
            "select with another bundle.device",
        )
    made = read_json(candidates / "candidates.json")
    shipped = bundle["chosen"]["name"]
    files = next((c["files"] for c in made["candidates"] if c["name"] == shipped), None)
    for part, present in (
        ("data", dataset["fingerprint"]),
        ("student", student_info["weights_sha256"]),
        ("evaluation", hash_file(evaluation_path)),
        ("model", files),
    ):
        if bundle["made_from"][part] != present:
            raise ArtefactError(manifest, f"was made from another {part} than the present one")
    verified = _parse(Verification, read_json(reports / "verify.json"), reports / "verify.json")
    if verified.candidate != shipped:
        raise ArtefactError(
            reports / "verify.json",
            f"is for {verified.candidate}, but the bundle contains {shipped}",
        )
    qat_info = None
    if any(candidate["options"].get("method") == "qat" for candidate in made["candidates"]):
        qat_info = read_json(qat / "qat.json")
        if qat_info.get("student") != student_info["weights_sha256"]:
            raise ArtefactError(qat / "qat.json", "was made from another student")
    return Facts(
        dataset=dataset,
        teacher=Training(
            read_json(reports / "teacher.json"),
            _read_history(reports / "teacher_history.csv"),
            bundle["params"]["finetune"],
        ),
        student=Training(
            read_json(reports / "student.json"),
            _read_history(reports / "student_history.csv"),
            student_info["recipe"],
        ),
        class_order=student_info["class_order"],
        parity=read_json(reports / "parity.json"),
        selected_on=selected_on,
        other_devices=[
            _read_device(path)
            for path in sorted(evaluation_path.parent.glob("*.json"))
            if path != evaluation_path
        ],
        manifest=bundle,
        verified=verified,
        candidates=made,
        qat=qat_info,
    )


def summary(facts: Facts) -> dict[str, float]:
    """Metrics for ``dvc metrics``.

    Accuracies are fractions in 0 ... 1, drops percentage points, latencies milliseconds. Names that
    begin with ``test`` refer to the test images; latency was measured on the validation images.
    """
    verified, shipped, teacher = facts.verified, facts.shipped, facts.measured_teacher
    multiply_adds = facts.student.figures["multiply_adds"]
    multiply_adds_teacher = facts.teacher.figures["multiply_adds"]
    return {
        "test_accuracy": verified.shipped.accuracy,
        "test_balanced_accuracy": verified.shipped.balanced_accuracy,
        "test_accuracy_student": verified.student.accuracy,
        "test_accuracy_teacher": verified.teacher.accuracy,
        "test_drop_to_student_points": verified.drop_to_student.points,
        "test_drop_to_teacher_points": verified.drop_to_teacher.points,
        "val_accuracy": shipped.accuracy,
        "val_accuracy_teacher": teacher.accuracy,
        "p50_ms": shipped.latency.p50_ms,
        "p50_ms_teacher": teacher.latency.p50_ms,
        "speedup": facts.speedup.value,
        "model_bytes": shipped.bytes,
        "model_bytes_teacher": teacher.bytes,
        "size_ratio": teacher.bytes / shipped.bytes,
        "bundle_bytes": verified.bundle_bytes,
        "multiply_adds": multiply_adds,
        "multiply_adds_teacher": multiply_adds_teacher,
        "multiply_add_ratio": multiply_adds_teacher / multiply_adds,
    }


def _read_device(path: Path) -> DeviceEvaluation:
    return DeviceEvaluation(read_evaluation(path), _parse(Host, read_json(path).get("host"), path))


def _parse(kind: type[T], value: Any, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtefactError(path, f"has an unexpected format ({key}: {first['msg']})") from None


def _read_history(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: float(row[key]) for key in row} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except (OSError, TypeError, ValueError) as error:
        raise ArtefactError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ArtefactError(path, "contains no epochs")
    return rows

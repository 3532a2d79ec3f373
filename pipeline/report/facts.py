"""Data of the report page, read from the files of earlier stages."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.data.prepared import DatasetInfo, open_prepared
from pipeline.errors import ArtifactError
from pipeline.files import hash_file, read_json
from pipeline.measure.evaluation import Evaluation, Measured, read_evaluation
from pipeline.measure.host import Host
from pipeline.shipping.verify import Verification
from pipeline.statistics import LatencyRatio

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
    """Data of the report page; each mapping is the content of a JSON file.

    Attributes:
        class_order: ``order`` of the class indices, and ``sha256`` of the names in that order.
        parity: Number of ``images`` and ``differences`` from PyTorch, per exported file.
        selected_on: Measurements that the selection is based on.
        verified: Acceptance test on the test images.
        qat: ``qat.json``; None if no candidate comes from quantization-aware training.
    """

    dataset: DatasetInfo
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
        return self.manifest["params"]  # type: ignore[no-any-return]

    @property
    def evaluation(self) -> Evaluation:
        """Measurements that the selection is based on."""
        return self.selected_on.evaluation

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
        return self.measured_teacher.latency.ratio(to=self.shipped.latency)

    @property
    def verdicts(self) -> dict[str, Mapping[str, Any]]:
        """``status`` and ``reason`` of every candidate, by name."""
        return {candidate["name"]: candidate for candidate in self.manifest["candidates"]}

    def _measured(self, name: str) -> Measured:
        return next(m for m in self.evaluation.candidates if m.name == name)


def read_facts(
    *, prepared: Path, student: Path, qat: Path, candidates: Path, reports: Path, manifest: Path
) -> Facts:
    """Reads the files of the earlier stages from their folders, and the manifest of the bundle.

    Raises:
        ArtifactError: A file is missing or broken, or the bundle was made from other files.
    """
    dataset = open_prepared(prepared).info
    student_info = read_json(student / "model.json")
    bundle = read_json(manifest)
    made = read_json(candidates / "candidates.json")
    evaluations, name = reports / "evaluations", f"{bundle['params']['bundle']['device']}.json"
    selected_on = _read_device(evaluations / name)
    if selected_on.evaluation.teacher is None:
        problem = "has no measurements of the teacher, which this device cannot run"
        raise ArtifactError(evaluations / name, problem, "select with another bundle.device")
    shipped = bundle["chosen"]["name"]
    for part, present in {
        "data": dataset.fingerprint,
        "student": student_info["weights_sha256"],
        "evaluation": hash_file(evaluations / name),
        "model": next((c["files"] for c in made["candidates"] if c["name"] == shipped), None),
    }.items():
        if bundle["made_from"][part] != present:
            raise ArtifactError(manifest, f"was made from another {part} than the present one")
    verified_path = reports / "verify.json"
    verified = _parse(Verification, read_json(verified_path), verified_path)
    if verified.candidate != shipped:
        problem = f"is for {verified.candidate}, but the bundle contains {shipped}"
        raise ArtifactError(verified_path, problem)
    qat_info = None
    if any(candidate["options"].get("method") == "qat" for candidate in made["candidates"]):
        qat_info = read_json(qat / "qat.json")
        if qat_info.get("student") != student_info["weights_sha256"]:
            raise ArtifactError(qat / "qat.json", "was made from another student")
    others = [path for path in sorted(evaluations.glob("*.json")) if path.name != name]
    return Facts(
        dataset=dataset,
        teacher=_read_training(reports, "teacher", bundle["params"]["finetune"]),
        student=_read_training(reports, "student", student_info["recipe"]),
        class_order=student_info["class_order"],
        parity=read_json(reports / "parity.json"),
        selected_on=selected_on,
        other_devices=[_read_device(path) for path in others],
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
        raise ArtifactError(path, f"has an unexpected format ({key}: {first['msg']})") from None


def _read_training(reports: Path, name: str, recipe: Mapping[str, Any]) -> Training:
    figures, path = read_json(reports / f"{name}.json"), reports / f"{name}_history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: float(row[key]) for key in row} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except (OSError, TypeError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ArtifactError(path, "contains no epochs")
    return Training(figures, rows, recipe)

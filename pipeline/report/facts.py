"""What the report tells: the files of the stages before it, held to belong together."""

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
from pipeline.shipping.verify import Verified
from pipeline.statistics import LatencyRatio, paired_ratio

T = TypeVar("T")


@dataclass(frozen=True)
class Training:
    """How one network was trained.

    Attributes:
        figures: Validation figures of the best epoch, ``multiply_adds`` and ``parameters``.
        history: A row an epoch: ``epoch``, ``loss``, its parts by name, ``val_accuracy``.
        recipe: The parameters of its stage.
    """

    figures: Mapping[str, float]
    history: list[dict[str, float]]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class OnDevice:
    """Measurements on one device.

    Attributes:
        evaluation: All of them, on the validation images.
        host: The machine that they were taken on.
    """

    evaluation: Evaluation
    host: Host


@dataclass(frozen=True)
class Facts:
    """All that the page shows.

    Attributes:
        dataset: ``dataset.json`` of the prepared data.
        teacher: How the teacher was trained.
        student: How the student was trained.
        class_order: ``order``, the class at each place of the transform's axis, and the ``sha256``
            of their names.
        parity: Per exported file the number of ``images`` and the ``differences`` from PyTorch.
        chosen_on: What the choice was made by.
        elsewhere: The other devices.
        manifest: That of the bundle.
        verified: The bundle, the fp32 student and the teacher on the test images.
        made: ``candidates.json``: how each candidate was made, and what the ladder tried.
        recovery: ``qat.json``: what the student lost and won back with int8 in its forward
            pass; None where no candidate was made of that student.
    """

    dataset: Mapping[str, Any]
    teacher: Training
    student: Training
    class_order: Mapping[str, Any]
    parity: Mapping[str, Any]
    chosen_on: OnDevice
    elsewhere: list[OnDevice]
    manifest: Mapping[str, Any]
    verified: Verified
    made: Mapping[str, Any]
    recovery: Mapping[str, Any] | None

    @property
    def class_order_names(self) -> list[str]:
        """Class names as they stand along the transform's axis."""
        return [self.dataset["classes"][index] for index in self.class_order["order"]]

    @property
    def evaluation(self) -> Evaluation:
        """The measurements that the choice was made by."""
        return self.chosen_on.evaluation

    @property
    def host(self) -> Host:
        """The machine that they were taken on."""
        return self.chosen_on.host

    @property
    def measured_teacher(self) -> Measured:
        """Measurements of the teacher; ``read_facts`` sees to it that there are some."""
        assert self.evaluation.teacher is not None
        return self.evaluation.teacher

    @property
    def shipped(self) -> Measured:
        """Measurements of the candidate that ships."""
        return self._measured(self.manifest["chosen"]["name"])

    @property
    def fp32(self) -> Measured:
        """Measurements of the fp32 student, to which the candidates are held."""
        return self._measured(self.evaluation.reference)

    @property
    def speed_up(self) -> LatencyRatio:
        """The teacher's latency as a multiple of the shipped model's, paired by turns."""
        teacher, shipped = self.measured_teacher.latency, self.shipped.latency
        return paired_ratio(teacher.round_ratios, shipped.round_ratios)

    @property
    def times_smaller(self) -> float:
        """Size of the teacher's file as a multiple of the shipped model's."""
        return self.measured_teacher.bytes / self.shipped.bytes

    @property
    def multiply_add_ratio(self) -> float:
        """The teacher's multiply-adds as a multiple of the student's."""
        return self.teacher.figures["multiply_adds"] / self.student.figures["multiply_adds"]

    def verdict(self, name: str) -> Mapping[str, Any]:
        """``status`` and ``reason`` of a candidate."""
        verdict: Mapping[str, Any] = next(
            candidate for candidate in self.manifest["candidates"] if candidate["name"] == name
        )
        return verdict

    def _measured(self, name: str) -> Measured:
        return next(m for m in self.evaluation.candidates if m.name == name)


def read_facts(
    *,
    prepared: Path,
    student: Path,
    recovered: Path,
    candidates: Path,
    reports: Path,
    manifest: Path,
) -> Facts:
    """Reads what the stages before left behind.

    Args:
        prepared: Folder of the prepared data.
        student: Folder of the student.
        recovered: Folder of the recovered student; read if a candidate was made of it.
        candidates: Folder of the candidates.
        reports: Folder of the reports.
        manifest: That of the bundle.

    Raises:
        ArtefactError: A file is missing or broken, or was made from other files than those that
            lie here now: the page would mix two runs.
    """
    dataset = read_json(prepared / "dataset.json")
    student_info = read_json(student / "model.json")
    shipped = read_json(manifest)
    verified = _read(Verified, read_json(reports / "verify.json"), reports / "verify.json")
    made_from = shipped["made_from"]
    device = shipped["params"]["bundle"]["device"]
    chosen_path = reports / "evaluations" / f"{device}.json"
    chosen_on = _read_device(chosen_path)
    if chosen_on.evaluation.teacher is None:
        raise ArtefactError(
            chosen_path,
            f"has no figures of the teacher, which {device} cannot run, to compare with",
            "let another bundle.device choose",
        )
    for part, present, other in (
        ("data", dataset["fingerprint"], "other data"),
        ("student", student_info["weights_sha256"], "another student"),
        ("evaluation", hash_file(chosen_path), "another evaluation"),
    ):
        if made_from[part] != present:
            raise ArtefactError(manifest, f"is of a bundle made from {other} than what is here")
    made = read_json(candidates / "candidates.json")
    name = shipped["chosen"]["name"]
    files = [candidate["files"] for candidate in made["candidates"] if candidate["name"] == name]
    if files != [made_from["model"]]:
        raise ArtefactError(
            manifest, "is of a bundle made from another candidate than what is here"
        )
    if verified.candidate != shipped["chosen"]["name"]:
        raise ArtefactError(
            reports / "verify.json",
            f"is of {verified.candidate}, but {shipped['chosen']['name']} is in the bundle",
        )
    recovery = None
    if any(candidate["options"].get("method") == "qat" for candidate in made["candidates"]):
        recovery = read_json(recovered / "qat.json")
        if recovery.get("student") != student_info["weights_sha256"]:
            raise ArtefactError(recovered / "qat.json", "is of another student than what is here")
    return Facts(
        dataset=dataset,
        teacher=Training(
            read_json(reports / "teacher.json"),
            _read_history(reports / "teacher_history.csv"),
            shipped["params"]["finetune"],
        ),
        student=Training(
            read_json(reports / "student.json"),
            _read_history(reports / "student_history.csv"),
            student_info["recipe"],
        ),
        class_order=student_info["class_order"],
        parity=read_json(reports / "parity.json"),
        chosen_on=chosen_on,
        elsewhere=[
            _read_device(path)
            for path in sorted(chosen_path.parent.glob("*.json"))
            if path != chosen_path
        ],
        manifest=shipped,
        verified=verified,
        made=made,
        recovery=recovery,
    )


def summary(facts: Facts) -> dict[str, float]:
    """The figures that matter, for ``dvc metrics``.

    Accuracies are shares in 0 ... 1, drops percentage points, latencies milliseconds. What begins
    with ``test`` is of the test images; latency was measured on the validation images.
    """
    verified, shipped, teacher = facts.verified, facts.shipped, facts.measured_teacher
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
        "speed_up": facts.speed_up.value,
        "model_bytes": shipped.bytes,
        "model_bytes_teacher": teacher.bytes,
        "times_smaller": facts.times_smaller,
        "bundle_bytes": verified.bundle_bytes,
        "multiply_adds": facts.student.figures["multiply_adds"],
        "multiply_adds_teacher": facts.teacher.figures["multiply_adds"],
        "multiply_add_ratio": facts.multiply_add_ratio,
    }


def _read_device(path: Path) -> OnDevice:
    return OnDevice(read_evaluation(path), _read(Host, read_json(path).get("host"), path))


def _read(kind: type[T], value: Any, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtefactError(path, f"is not as written ({place}: {first['msg']})") from None


def _read_history(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: float(row[key]) for key in row} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except (OSError, TypeError, ValueError) as error:
        raise ArtefactError(path, f"cannot be read ({error})") from None
    if not rows:
        raise ArtefactError(path, "has no epochs")
    return rows

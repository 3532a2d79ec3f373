"""Data of the report page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.data.prepared import DatasetInfo, Split
from pipeline.measure.evaluation import Evaluation, Measured, ModelInfo
from pipeline.models.record import ClassOrder
from pipeline.params import Distill, Finetune, Recipe
from pipeline.report.artifacts import (
    QAT,
    CandidateIndex,
    LastRun,
    Parity,
    RunParams,
    TrainingFigures,
)
from pipeline.shipping.answers import Answers
from pipeline.shipping.manifest import Manifest
from pipeline.shipping.select import Verdict
from pipeline.shipping.verify import Verification
from pipeline.statistics import LatencyRatio

RecipeType = TypeVar("RecipeType", bound=Recipe)


@dataclass(frozen=True)
class Training(Generic[RecipeType]):
    """Training of one network.

    Attributes:
        figures: Metrics of the best epoch, and cost.
        history: One row per epoch: ``epoch``, ``loss``, its terms by name, ``val_...``.
        recipe: Parameters of the training stage.
    """

    figures: TrainingFigures
    history: list[dict[str, float]]
    recipe: RecipeType


@dataclass(frozen=True)
class Facts:
    """Data of the report page.

    Attributes:
        dataset: Description of the prepared data.
        teacher, student: Their training.
        class_order: Order of the classes along the axis of the wavelet transform.
        parity: Differences from PyTorch, per exported file.
        evaluation: Measurements that the selection is based on.
        other_devices: Measurements on the other devices.
        manifest: Manifest of the bundle.
        params: Parameters of the run.
        verified: Acceptance test on the test images.
        answers: The most probable classes of the test images.
        test: The test images, at the student's size.
        candidates: How the candidates were made.
        qat: Quantization-aware training; None if no candidate comes from it.
        last_run: The run in the last commit; None if there is none.
    """

    dataset: DatasetInfo
    teacher: Training[Finetune]
    student: Training[Distill]
    class_order: ClassOrder
    parity: dict[str, Parity]
    evaluation: Evaluation
    other_devices: list[Evaluation]
    manifest: Manifest
    params: RunParams
    verified: Verification
    answers: Answers = field(compare=False)  # arrays have no truth value
    test: Split = field(compare=False)
    candidates: CandidateIndex
    qat: QAT | None
    last_run: LastRun | None = None

    @property
    def teacher_info(self) -> ModelInfo:
        """The teacher's file, also if the device cannot run it."""
        models: list[ModelInfo] = [*self.evaluation.measured, *self.evaluation.not_run]
        return next(m for m in models if m.name == "teacher")

    @property
    def shipped(self) -> Measured:
        """Measurements of the shipped candidate."""
        return self._measured(self.manifest.chosen.name)

    @property
    def fp32(self) -> Measured:
        """Measurements of the fp32 student, the reference of the candidates."""
        return self._measured(self.evaluation.reference)

    @property
    def ships_fp32(self) -> bool:
        """Whether the shipped file is that of the fp32 student."""
        return self.manifest.chosen.name == self.evaluation.reference

    @property
    def speedup(self) -> LatencyRatio | None:
        """Latency of the teacher divided by that of the shipped model, if it was measured."""
        teacher = self.evaluation.teacher
        return teacher.latency.ratio(to=self.shipped.latency) if teacher else None

    def kind(self, m: Measured) -> str:
        """The kind of a model in a chart of any device: whether it ships, or is the teacher."""
        kinds = {self.manifest.chosen.name: "shipped", "teacher": "teacher"}
        return kinds.get(m.name, "measured")

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Verdict on every candidate, by name."""
        return {candidate.name: candidate for candidate in self.manifest.candidates}

    def _measured(self, name: str) -> Measured:
        return next(m for m in self.evaluation.candidates if m.name == name)


def summary(facts: Facts) -> dict[str, float]:
    """Figures of the shipped model and how it compares with the teacher.

    Accuracies are fractions in 0 ... 1, latencies milliseconds. Names that begin with ``test``
    refer to the test images; latency was measured on the validation images. ``speedup`` is left
    out if the device cannot run the teacher.
    """
    verified, shipped = facts.verified, facts.shipped
    multiply_adds = facts.student.figures.multiply_adds
    multiply_adds_teacher = facts.teacher.figures.multiply_adds
    metrics = {
        "test_accuracy": verified.shipped.accuracy,
        "test_balanced_accuracy": verified.shipped.balanced_accuracy,
        "p50_ms": shipped.latency.p50_ms,
        "model_bytes": shipped.bytes,
        "size_ratio": facts.teacher_info.bytes / shipped.bytes,
        "multiply_adds": multiply_adds,
        "multiply_add_ratio": multiply_adds_teacher / multiply_adds,
    }
    if facts.speedup:
        metrics["speedup"] = facts.speedup.value
    return metrics

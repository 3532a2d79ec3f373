"""Export, quantization and selection: from the trained student to the bundle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params.candidate import Candidate
from pipeline.params.evaluate import LOCAL
from pipeline.plugins.section import NonNegativeFloat, PositiveFloat, PositiveInt, Section


class Export(Section):
    """PyTorch to ONNX."""

    opset: int = Field(18, ge=18, le=23, description="ONNX operator set.")
    tolerance: PositiveFloat = Field(
        1e-4, description="Largest difference of a logit, relative to the image's largest logit."
    )


class MixedPrecision(Section):
    """Mixed precision for a static int8 candidate that loses too much accuracy."""

    enabled: bool = Field(
        True,
        description="Add `<name>-mixed`, with the most sensitive layers kept in float, for each "
        "static int8 candidate whose accuracy drop exceeds `bundle.max_drop` or "
        "`bundle.max_drop_bound`.",
    )
    images: PositiveInt = Field(
        128, description="Validation images that each layer's sensitivity is measured on."
    )
    max_float_fraction: float = Field(
        0.5, gt=0, le=1, description="Largest fraction of the layers that is kept in float."
    )


class Quantize(Section):
    """Candidates for deployment, calibration and mixed precision."""

    calibration_images: PositiveInt = Field(
        256, description="Number of training images for calibration."
    )
    mixed_precision: MixedPrecision = Field(
        default_factory=MixedPrecision,
        description="Mixed precision where int8 loses too much accuracy.",
    )
    candidates: list[Candidate] = Field(
        min_length=1, description="Candidates to make and to measure."
    )

    @model_validator(mode="after")
    def _names_and_reference(self) -> Quantize:
        names = [c.name for c in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"candidates have the same name: {', '.join(sorted(names))}")
        if "teacher" in names:
            raise ValueError("the name 'teacher' is reserved for the teacher; rename the candidate")
        if not any(c.is_reference for c in self.candidates):
            raise ValueError(
                "one candidate must be onnxruntime fp32: the others are compared with it"
            )
        mixed = {c.mixed_name for c in self.candidates if c.supports_mixed_precision}
        if self.mixed_precision.enabled and (taken := mixed.intersection(names)):
            raise ValueError(
                f"the name {min(taken)!r} is reserved for mixed precision; rename the candidate, "
                "or set quantize.mixed_precision.enabled to false"
            )
        return self


class Bundle(Section):
    """The rule that selects the candidate to ship."""

    name: str = Field(
        "finch-student",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="Name of the archive.",
    )
    device: str = Field(
        LOCAL, description="Device in `evaluate.devices` whose measurements select the candidate."
    )
    metric: Literal["accuracy", "balanced_accuracy"] = Field(
        "accuracy",
        description="Metric of `max_drop` and `max_drop_bound`. Balanced accuracy is the mean "
        "recall of the classes; its bound needs more validation images, above all of the classes "
        "with few.",
    )
    max_drop: NonNegativeFloat = Field(
        1.0,
        description="Largest accepted drop of `metric` relative to fp32 on validation images, in "
        "percentage points.",
    )
    max_drop_bound: NonNegativeFloat = Field(
        2.0,
        description="Largest accepted one-sided 95 % upper bound of the drop, in percentage "
        "points. With few validation images the bound is high; `prepare.fractions.val` adds more.",
    )
    percentile: Literal["p50", "p90", "p99"] = Field(
        "p50", description="Percentile of latency by which accepted candidates are compared."
    )
    latency_tolerance: NonNegativeFloat = Field(
        0.10,
        description="The smallest candidate within this fraction above the lowest latency is "
        "selected. A candidate that exceeds the latency of fp32 by more is rejected as slower.",
    )
    max_model_mb: PositiveFloat | None = Field(
        None,
        description="Largest accepted size of the model's files, in 10^6 bytes; null: no limit.",
    )
    max_total_mb: PositiveFloat | None = Field(
        None,
        description="Largest accepted size of model and inference runtime, in 10^6 bytes; null: no "
        "limit.",
    )
    max_memory_mb: PositiveFloat | None = Field(
        None, description="Largest accepted peak resident memory, in 10^6 bytes; null: no limit."
    )
    min_accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Lowest validation accuracy of the selected candidate, a fraction; below it, "
        "`finch bundle` fails. null: no limit.",
    )
    max_drop_to_teacher: NonNegativeFloat | None = Field(
        None,
        description="Largest drop of the selected candidate's validation accuracy relative to the "
        "teacher, in percentage points; above it, `finch bundle` fails. null: it warns above 10.",
    )
    min_class_recall: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Lowest recall of a class on the validation images, a fraction; below it, "
        "`finch bundle` fails. null: it warns if a class has recall 0.",
    )

    @model_validator(mode="after")
    def _bound_above_drop(self) -> Bundle:
        if self.max_drop_bound < self.max_drop:
            raise ValueError(
                f"max_drop_bound {self.max_drop_bound:g} is below max_drop {self.max_drop:g}; "
                "set max_drop_bound to at least max_drop"
            )
        return self

"""From the trained student to what ships."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params.candidate import Candidate
from pipeline.params.device import LOCAL, ListedDevice
from pipeline.params.mixed_precision import MixedPrecision
from pipeline.plugins.section import AboveZero, NotNegative, Positive, Section


class Export(Section):
    """PyTorch to ONNX."""

    opset: int = Field(18, ge=18, le=23, description="ONNX operator set.")
    tolerance: AboveZero = Field(
        1e-4,
        description="Largest accepted difference of a logit, relative to the largest logit "
        "of the image.",
    )


class Quantize(Section):
    """The candidates."""

    calibration_images: Positive = Field(256, description="Training images that set the ranges.")
    mixed_precision: MixedPrecision = Field(
        default_factory=MixedPrecision, description="What is tried for int8 that loses too much."
    )
    candidates: list[Candidate] = Field(min_length=1, description="What to make and measure.")

    @model_validator(mode="after")
    def _one_reference(self) -> Quantize:
        names = [c.name for c in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"candidates have the same name: {', '.join(sorted(names))}")
        if "teacher" in names:
            raise ValueError(
                "the name 'teacher' is the teacher's own; name the candidate otherwise"
            )
        if not any((c.runtime, c.precision) == ("onnxruntime", "fp32") for c in self.candidates):
            raise ValueError("one candidate must be onnxruntime fp32: the others are held to it")
        return self

    @model_validator(mode="after")
    def _room_for_mixed(self) -> Quantize:
        names = {c.name for c in self.candidates}
        taken = sorted(
            c.mixed_name for c in self.candidates if c.can_be_mixed and c.mixed_name in names
        )
        if self.mixed_precision.mixed and taken:
            raise ValueError(
                f"the name {taken[0]!r} is kept for what ladder.mixed may make; name the "
                "candidate otherwise, or set it to false"
            )
        return self

    @property
    def reference(self) -> Candidate:
        """The fp32 student that every other candidate is held to."""
        return next(
            c for c in self.candidates if (c.runtime, c.precision) == ("onnxruntime", "fp32")
        )


class Evaluate(Section):
    """Accuracy and latency of every candidate, on every device."""

    devices: list[ListedDevice] = Field(
        default_factory=lambda: [ListedDevice(name=LOCAL)],
        min_length=1,
        description="Machines to measure on, one after the other.",
    )
    rounds: int = Field(
        5, ge=3, description="Fewest rounds; each starts every model in a new process."
    )
    max_rounds: int = Field(30, ge=3, description="Most rounds.")
    minutes: AboveZero = Field(
        2.0,
        description="No further round begins that would end after so many minutes of rounds, "
        "settled or not.",
    )
    settled: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Rounds end when no candidate's latency beside fp32 is uncertain by more than "
        "this share: half of its 95 % interval.",
    )
    turns: int = Field(40, ge=3, description="Turns of every model in a round, side by side.")
    runs: int = Field(6, ge=3, description="Timed inferences in a turn.")
    warmup: int = Field(30, ge=1, description="Fewest inferences before the first turn.")
    warmup_seconds: NotNegative = Field(0.2, description="Shortest time of these, in seconds.")
    threads: Positive = Field(1, description="Threads of the inference runtime.")
    batches: list[Positive] = Field(
        [1, 2, 4, 8, 16, 32],
        description="Batches to find the throughput with, where a model takes them; none: "
        "no throughput.",
    )
    thread_sweep: list[Positive] = Field(
        default_factory=list,
        description="Further thread counts to measure latency and throughput with.",
    )
    sustained_seconds: NotNegative = Field(
        0.0, description="Seconds that every model runs on, to see whether it slows down."
    )

    @model_validator(mode="after")
    def _can_end(self) -> Evaluate:
        if self.max_rounds < self.rounds:
            raise ValueError(
                f"max_rounds {self.max_rounds} is below rounds {self.rounds}, the fewest"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluate:
        names = [device.name for device in self.devices]
        if len(set(names)) != len(names):
            raise ValueError(f"devices have the same name: {', '.join(sorted(names))}")
        return self


class Bundle(Section):
    """The rule by which one candidate ships."""

    name: str = Field(
        "finch-student", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the archive."
    )
    device: str = Field(LOCAL, description="The one of evaluate.devices whose figures choose.")
    max_drop: NotNegative = Field(
        1.0, description="Largest accepted loss of validation accuracy to fp32, in points."
    )
    max_drop_bound: NotNegative = Field(
        2.0,
        description="Largest accepted upper end of that loss's 95 % interval, in points: few "
        "validation images cannot rule out a large loss.",
    )
    percentile: Literal["p50", "p90", "p99"] = Field(
        "p50", description="The latency that counts among the accepted candidates."
    )
    latency_tolerance: NotNegative = Field(
        0.10, description="A candidate counts as fast when its latency is this close to the lowest."
    )
    max_model_mb: AboveZero | None = Field(
        None, description="Largest accepted size of the model's files, in 10^6 bytes; null: any."
    )
    max_total_mb: AboveZero | None = Field(
        None, description="That of the model's files and its inference runtime's; null: any."
    )
    max_memory_mb: AboveZero | None = Field(
        None, description="Largest accepted peak resident memory, in 10^6 bytes; null: any."
    )

    @model_validator(mode="after")
    def _bound_beyond_drop(self) -> Bundle:
        if self.max_drop_bound < self.max_drop:
            raise ValueError(
                f"max_drop_bound {self.max_drop_bound:g} is below max_drop {self.max_drop:g}, "
                "so that no loss as large could be accepted; raise it as well"
            )
        return self

"""What the report reads of the JSON files of earlier stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from pipeline.class_metrics import Fraction, Metric
from pipeline.params import Bundle, CacheLogits, Export
from pipeline.quantize.mixed_precision import MixedPrecisionSearch


@dataclass(frozen=True)
class TrainingFigures:
    """Metrics of the best epoch and cost of a network, in ``teacher.json`` and ``student.json``.

    ``band_energy`` has the fractions of the energy of the teacher's logits by wavelet band.
    """

    val_accuracy: Fraction
    val_balanced_accuracy: Fraction
    val_macro_f1: Fraction
    val_majority_fraction: Fraction
    best_epoch: NonNegativeInt
    multiply_adds: PositiveInt
    parameters: PositiveInt
    band_energy: dict[str, Fraction] | None = None

    def metric(self, name: Metric) -> float:
        """A validation metric by name."""
        value: float = getattr(self, f"val_{name}")
        return value


@dataclass(frozen=True)
class Difference:
    """Differences from PyTorch at one batch size, see ``pipeline.export.parity``."""

    batch: PositiveInt
    absolute: NonNegativeFloat
    relative: NonNegativeFloat
    probability: NonNegativeFloat
    agreement: Fraction


@dataclass(frozen=True)
class Parity:
    """Differences between an exported file and PyTorch, and the hash of the file.

    ``reparameterized`` is the largest relative difference of a logit between the exported form of
    the network and that in which it was trained; None if they are the same.
    """

    images: PositiveInt
    differences: list[Difference]
    sha256: str
    reparameterized: NonNegativeFloat | None = None


@dataclass(frozen=True)
class MadeCandidate:
    """A candidate in ``candidates.json``."""

    name: str
    files: dict[str, str]
    options: dict[str, Any]
    float_layers: list[str]


@dataclass(frozen=True)
class CandidateIndex:
    """``candidates.json``. ``made_from`` has hashes, or hashes by file name."""

    candidates: list[MadeCandidate]
    mixed_precision: list[MixedPrecisionSearch]
    made_from: dict[str, str | dict[str, str]]


@dataclass(frozen=True)
class QAT:
    """``qat.json``, if the student was trained further. ``best_epoch`` 0: no epoch was better."""

    epochs: PositiveInt
    method: str
    accuracy_fp32: Fraction
    accuracy_int8_initial: Fraction
    accuracy_int8: Fraction
    best_epoch: NonNegativeInt
    parity: dict[str, Parity]
    student: str
    data: str
    cache: str
    files: dict[str, str]


@dataclass(frozen=True)
class Preparing:
    """How the images were split."""

    split: str
    block: PositiveInt


@dataclass(frozen=True)
class Timing:
    """How latency was measured."""

    runs: PositiveInt
    warmup: NonNegativeInt
    max_half_width: NonNegativeFloat


@dataclass(frozen=True)
class RunParams:
    """Parameters of the run, in the manifest of the bundle."""

    prepare: Preparing
    cache_logits: CacheLogits
    export: Export
    evaluate: Timing
    bundle: Bundle


@dataclass(frozen=True)
class LastRun:
    """The run in the last commit.

    Attributes:
        commit: Abbreviated hash of the commit.
        metrics: Its ``reports/metrics.json``.
        params: The parameters in its ``dvc.lock``, by dotted name.
    """

    commit: str
    metrics: dict[str, float]
    params: dict[str, Any]

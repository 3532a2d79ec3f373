"""Requests to the device runtime and their results, as typed and versioned JSON.

``python -m finch_runtime measure`` reads a request and prints its result. The pipeline builds
requests and reads results with these classes; both sides must use the same ``PROTOCOL``.
"""

# Optional instead of `X | None`: from_json evaluates annotations, on Python 3.9 as well.
# ruff: noqa: UP007, UP045

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Optional, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from finch_runtime.errors import RuntimeProblem, last_line

PROTOCOL = 3

# Ceilings of a plan: numbers of runs, images of a batch, seconds of a measurement.
MAX_COUNT = 1_000_000
MAX_BATCH = 4096
MAX_SECONDS = 86_400

Message = TypeVar("Message")

_SEE = "see finch_runtime/protocol.py"


@dataclass(frozen=True)
class ModelSource:
    """A model to run.

    Attributes:
        path: Model file, or the folder of an unpacked bundle.
        runtime: Inference runtime of a model file; None for a bundle, whose manifest names it.
        images: Images of the size of this model's input, in place of those of the request.
    """

    path: str
    runtime: Optional[str] = None
    images: Optional[str] = None


@dataclass(frozen=True)
class BenchmarkPlan:
    """What ``benchmark`` measures of one model.

    Attributes:
        runs: Timed inferences at batch 1.
        warmup: Minimum number of warm-up inferences.
        warmup_s: Minimum duration of the warm-up, in seconds.
        batches: Batch sizes to measure throughput with; empty for none.
        batch_s: Duration of each throughput measurement, in seconds.
        sustained_s: Duration of a run without pauses, in seconds; 0 for none.
    """

    runs: int = 100
    warmup: int = 10
    warmup_s: float = 0.2
    batches: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32])
    batch_s: float = 0.3
    sustained_s: float = 0.0

    def __post_init__(self) -> None:
        counts = {"runs": (1, MAX_COUNT), "warmup": (0, MAX_COUNT), "batches": (1, MAX_BATCH)}
        seconds = dict.fromkeys(("warmup_s", "batch_s", "sustained_s"), (0, MAX_SECONDS))
        _check_ranges(self, {**counts, **seconds})


@dataclass(frozen=True)
class ComparePlan:
    """How several models are timed in alternation.

    Attributes:
        turns: Turns of every model.
        runs: Timed inferences per turn.
        warmup: Minimum number of warm-up inferences of every model.
        warmup_s: Minimum duration of the warm-up, in seconds.
        seed: Seed of the order of the models.
    """

    turns: int = 20
    runs: int = 8
    warmup: int = 10
    warmup_s: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {"turns": (1, MAX_COUNT), "runs": (1, MAX_COUNT), "warmup": (0, MAX_COUNT)}
        _check_ranges(self, {**counts, "warmup_s": (0, MAX_SECONDS)})


@dataclass(frozen=True)
class PredictRequest:
    """Write the logits of all images, float32 [n, classes], to ``out``.

    ``images`` is a ``.npy`` file, uint8 [n, height, width, 3] (RGB) or [n, height, width, 1]
    (gray), here and below.
    """

    model: ModelSource
    images: str
    threads: int
    out: str


@dataclass(frozen=True)
class BenchmarkRequest:
    """Measure one model in this process."""

    model: ModelSource
    images: str
    threads: int
    plan: BenchmarkPlan


@dataclass(frozen=True)
class CompareRequest:
    """Time several models in alternation, each in its own process."""

    models: list[ModelSource]
    images: str
    threads: int
    plan: ComparePlan


Request = Union[PredictRequest, BenchmarkRequest, CompareRequest]
REQUESTS: tuple[type[Request], ...] = (PredictRequest, BenchmarkRequest, CompareRequest)


@dataclass(frozen=True)
class Conditions:
    """State of the machine: processor temperature and frequency; None if unknown."""

    temperature_c: Optional[float]
    frequency_mhz: Optional[float]


@dataclass(frozen=True)
class Energy:
    """Energy consumption of the whole machine.

    Attributes:
        joules: Energy of all ``runs`` together; None if it was not measured.
        runs: Number of inferences during the measurement.
        source: Names of the meters, or the reason why there is no measurement.
    """

    joules: Optional[float]
    runs: int
    source: str


@dataclass(frozen=True)
class Rate:
    """Throughput at one batch size, from the median time of a batch."""

    batch: int
    images_per_s: float


@dataclass(frozen=True)
class SustainedStep:
    """Median latency of one step of a run, which ends ``end_s`` seconds after the start."""

    end_s: float
    p50_ms: float
    conditions: Conditions


@dataclass(frozen=True)
class Sustained:
    """Inference without pauses.

    ``slowdown`` is the relative increase of the median latency from the first to the last tenth of
    the duration.
    """

    runs: int
    steps: list[SustainedStep]
    slowdown: float
    energy: Energy


@dataclass(frozen=True)
class ModelTiming:
    """Latency at batch 1 and resource usage of a process with one model.

    Attributes:
        runtime: Inference runtime.
        runtime_version: Version of its package.
        threads: Threads of the inference runtime.
        settings: Runtime settings that affect speed or numerics.
        load_s: Time to load the model, in seconds, without importing the runtime.
        first_s: Latency of the first inference, in seconds.
        turns: Latencies of every turn, in seconds.
        energy: Energy consumption of inferences without pauses, after the timed ones.
        baseline_bytes: Peak resident memory before the runtime is imported; None if unknown.
        peak_bytes: Peak resident memory after the timed inferences; None if unknown.
        runtime_bytes: Disk usage of the runtime's package; None if unknown.
    """

    runtime: str
    runtime_version: str
    threads: int
    settings: dict[str, str]
    load_s: float
    first_s: float
    turns: list[list[float]]
    energy: Energy
    baseline_bytes: Optional[int]
    peak_bytes: Optional[int]
    runtime_bytes: Optional[int]


@dataclass(frozen=True)
class PredictResult:
    """Shape of the logits that were written."""

    images: int
    classes: int


@dataclass(frozen=True)
class BenchmarkResult:
    """Timing in one turn, machine state before and after it, and what else was requested."""

    timing: ModelTiming
    conditions: list[Conditions]
    rates: list[Rate]
    sustained: Optional[Sustained]


@dataclass(frozen=True)
class CompareResult:
    """Timings in the order of the requested models; machine state before and after all turns."""

    models: list[ModelTiming]
    conditions: list[Conditions]


def best_rate(rates: Sequence[Rate]) -> Optional[Rate]:
    """The highest throughput, at the smallest batch that reaches it; None without rates."""
    return max(rates, key=lambda rate: (rate.images_per_s, -rate.batch), default=None)


def to_json(message: Any) -> str:
    """A request or result as one line of JSON."""
    return json.dumps({"protocol": PROTOCOL, "type": type(message).__name__, **asdict(message)})


def from_json(text: str, *types: type[Message]) -> Message:
    """Reads a request or result of one of ``types``.

    Raises:
        RuntimeProblem: The text is not JSON, has another protocol version or type, or a value is
            missing, unknown or of the wrong type; the message names it.
    """
    accepted = {each.__name__: each for each in types}
    expected = " or ".join(accepted)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RuntimeProblem(expected, f"not JSON: {last_line(error)}", _SEE) from None
    if not isinstance(value, dict):
        raise RuntimeProblem(expected, "not a JSON object", _SEE)
    version, name = value.pop("protocol", None), value.pop("type", None)
    if version != PROTOCOL:
        raise RuntimeProblem(
            "protocol",
            f"version is {version!r}, expected {PROTOCOL}",
            "use the finch_runtime of the same Finch version on both sides",
        )
    if name not in accepted:
        raise RuntimeProblem("type", f"{name!r} is unknown", f"use {expected}")
    return cast(Message, decode(accepted[name], value, name))


def decode(kind: Any, value: Any, place: str) -> Any:
    """Converts a JSON value to an annotated type, such as a data class; errors name ``place``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:  # Optional
        return None if value is None else decode(arguments[0], value, place)
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    if kind is float and type(value) is float and not math.isfinite(value):
        raise RuntimeProblem(place, f"{value} is not finite", "correct the value")
    expected = dict if is_dataclass(kind) else origin or kind
    if type(value) is not expected:
        problem = f"{value!r} is not of type {expected.__name__}"
        raise RuntimeProblem(place, problem, "correct the value")
    if is_dataclass(kind):
        return _decode_object(kind, value, place)
    if origin is list:
        return [decode(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        return {key: decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    return value


def _decode_object(kind: Any, value: dict[str, Any], place: str) -> Any:
    hints = get_type_hints(kind)
    unknown = sorted(value.keys() - hints.keys())
    if unknown:
        raise RuntimeProblem(f"{place}.{unknown[0]}", "unknown key", f"known: {', '.join(hints)}")
    for each in fields(kind):
        required = each.default is MISSING and each.default_factory is MISSING
        if required and each.name not in value:
            raise RuntimeProblem(f"{place}.{each.name}", "is missing", "add the value")
    return kind(**{key: decode(hints[key], value[key], f"{place}.{key}") for key in value})


def _check_ranges(plan: Any, ranges: Mapping[str, tuple[int, int]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(plan, name)
        for number in value if isinstance(value, list) else [value]:
            if not low <= number <= high:
                raise RuntimeProblem(name, f"{number} is out of range", f"use {low} to {high}")

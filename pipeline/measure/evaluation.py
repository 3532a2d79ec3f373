"""Results of the evaluation on one device, as JSON and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from finch_runtime.protocol import Conditions
from pydantic import Field

from pipeline.class_metrics import Fraction
from pipeline.errors import DeviceError
from pipeline.files import atomic_file, read_artifact
from pipeline.measure.accuracy import Metrics
from pipeline.measure.host import Host, Unreachable, read_hosts
from pipeline.measure.latency import Ended, Footprint, Latency
from pipeline.measure.throughput import Throughput
from pipeline.statistics import AccuracyDrop, BalancedAccuracyDrop, LatencyRatio


@dataclass(frozen=True)
class ModelInfo:
    """A candidate or the teacher.

    Attributes:
        name: Name of the candidate, or ``teacher``.
        runtime: Inference runtime.
        precision: Data type of the weights.
        batch: ``dynamic``, or 1.
        bytes: Size of its files.
        files: SHA-256 of each file that was measured; empty in recordings of earlier versions.
    """

    name: str
    runtime: str
    precision: str
    batch: str | int
    bytes: Annotated[int, Field(ge=0)]
    files: dict[str, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Measured(Metrics, ModelInfo):  # in JSON, the keys of ModelInfo come first
    """Measurements of one model on one device.

    Attributes:
        agreement: Fraction of images with the same predicted class as the fp32 student.
        drop: Accuracy drop relative to the fp32 student, paired by image.
        latency: Latency at batch 1.
        ratio: Latency ratio to the fp32 student, paired by turn.
        footprint: Memory, energy and disk usage at batch 1.
        throughput: Throughput, thread sweep and sustained run.
        balanced_drop: Drop of balanced accuracy relative to the fp32 student, paired by image; None
            in recordings of earlier versions.
        drop_to_teacher: Accuracy drop relative to the teacher, paired by image; None if the device
            cannot run the teacher, and in recordings of earlier versions.
    """

    agreement: Fraction
    drop: AccuracyDrop
    latency: Latency
    ratio: LatencyRatio
    footprint: Footprint
    throughput: Throughput
    balanced_drop: BalancedAccuracyDrop | None = field(default=None, kw_only=True)
    drop_to_teacher: AccuracyDrop | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class NotRun(ModelInfo):
    """A model that the device cannot run; ``problem`` is the reason and the remedy."""

    problem: str


@dataclass(frozen=True)
class Evaluation:
    """All measurements on one device.

    Attributes:
        host: Hardware and software of the device.
        device: Name in ``evaluate.devices``.
        images: Number of validation images.
        rounds: Number of rounds.
        ended: Why the rounds ended: the latency ratios ``converged``, or the limit
            ``max_rounds`` or ``max_minutes`` (``time_limit``) was reached.
        half_width: Largest relative 95 % CI half-width of a candidate's latency ratio.
        threads: Threads of the inference runtime.
        reference: Name of the candidate that is the fp32 student.
        candidates: Candidates that the device can run, in the order of ``candidates.json``.
        not_run: Models that it cannot run, the teacher last.
        teacher: The fp32 teacher with ONNX Runtime; None if it is in ``not_run``.
        notes: Remarks on the validity of the measurements.
        conditions: State of the machine before and after each round.
        data: Fingerprint of the prepared data; None in recordings of earlier versions, like
            ``runtime``.
        runtime: ``DeviceRuntime.content_hash`` of the device runtime that measured.
        class_images: Number of validation images by class name, in the order of the labels; None in
            recordings of earlier versions.
    """

    host: Host
    device: str
    images: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    ended: Ended
    half_width: Annotated[float, Field(ge=0)]
    threads: Annotated[int, Field(ge=1)]
    reference: str
    candidates: list[Measured]
    not_run: list[NotRun]
    teacher: Measured | None
    notes: list[str]
    conditions: list[Conditions]
    data: str | None = None
    runtime: str | None = None
    class_images: dict[str, Annotated[int, Field(ge=0)]] | None = None

    @property
    def measured(self) -> list[Measured]:
        """The candidates and the teacher, if the device can run them."""
        return [*self.candidates, *([self.teacher] if self.teacher else [])]


def read_evaluation(path: Path) -> Evaluation:
    """Reads the JSON form of an evaluation.

    Raises:
        ArtifactError: The file is missing, or is not an evaluation.
    """
    return read_artifact(path, Evaluation)


def read_device(reports: Path, device: str) -> Evaluation:
    """Reads the evaluation of a device.

    Args:
        reports: Folder that contains ``evaluations`` and ``hosts.json``.
        device: Name in ``evaluate.devices``.

    Raises:
        ArtifactError: The evaluation is missing or invalid.
        DeviceError: It is missing because ``probe`` could not reach the device.
    """
    path, hosts = reports / "evaluations" / f"{device}.json", reports / "hosts.json"
    if not path.exists() and hosts.exists():
        host = read_hosts(hosts).get(device)
        if isinstance(host, Unreachable):
            problem = f"was not measured, since `probe` could not use it: {host.unreachable}"
            remedy = "then run `finch probe` and `finch evaluate`, or select on another device"
            raise DeviceError(device, problem, f"make it reachable, {remedy} (bundle.device)")
    return read_evaluation(path)


def write_table(path: Path, evaluations: Iterable[Evaluation]) -> None:
    """Writes a CSV file with one row per model and device, for ``dvc plots`` and other programs.

    Latencies are in ms, accuracy and agreement are fractions in [0, 1], the drop of accuracy is in
    percentage points; ``low`` and ``high`` are the ends of 95 % intervals.
    """
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["device", "model", "p50_ms", "p90_ms", "p99_ms", "accuracy", "bytes"]
            + [f"ratio{end}" for end in ("", "_low", "_high")]
            + [f"drop_points{end}" for end in ("", "_low", "_high")]
            + ["agreement"]
        )
        for evaluation in evaluations:
            for m in evaluation.measured:
                times = (m.latency.p50_ms, m.latency.p90_ms, m.latency.p99_ms)
                ratio = (m.ratio.value, m.ratio.low, m.ratio.high)
                drop = (m.drop.points, m.drop.low, m.drop.high)
                writer.writerow(
                    [evaluation.device, m.name]
                    + [f"{time:.6g}" for time in times]
                    + [f"{m.accuracy:.6g}", m.bytes]
                    + [f"{figure:.6g}" for figure in (*ratio, *drop, m.agreement)]
                )

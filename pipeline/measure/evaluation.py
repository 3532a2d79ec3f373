"""Every candidate and the teacher, measured on the validation images by one device."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtefactError, DeviceError, MeasurementError
from pipeline.files import read_json, whole_file
from pipeline.measure.accuracy import Accuracy, agreement, correct, score
from pipeline.measure.devices.device import Device
from pipeline.measure.footprint import Footprint, Moment
from pipeline.measure.latency import (
    Latency,
    Rounds,
    Stopping,
    measure_latency,
)
from pipeline.measure.predictions import measure_logits
from pipeline.measure.runtime import THIS_MACHINE, MeasuredModel
from pipeline.measure.throughput import Throughput, measure_throughput
from pipeline.params import Evaluate
from pipeline.progress import Track, silent
from pipeline.statistics import AccuracyDrop, LatencyRatio, paired_drop, paired_ratio


@dataclass(frozen=True)
class Measured:
    """One model on one device.

    Attributes:
        name: The candidate, or ``teacher``.
        runtime: Inference runtime.
        precision: Type of its weights.
        batch: ``dynamic``, or 1.
        bytes: Size of its files.
        accuracy: Share of images classified right.
        balanced_accuracy: Mean recall of the classes.
        top5: Share of images whose label is among the five likeliest; None with few classes.
        calibration_error: Expected calibration error.
        recalls: Recall per class; None for a class without images.
        agreement: Share of images classified like the fp32 student.
        drop: Accuracy lost to the fp32 student, paired by images.
        latency: At batch 1.
        ratio: Latency over that of the fp32 student, paired by turns.
        demand: Memory and energy, at batch 1.
        throughput: Images a second, other thread counts, a sustained run.
    """

    name: str
    runtime: str
    precision: str
    batch: str | int
    bytes: int
    accuracy: float
    balanced_accuracy: float
    top5: float | None
    calibration_error: float
    recalls: list[float | None]
    agreement: float
    drop: AccuracyDrop
    latency: Latency
    ratio: LatencyRatio
    demand: Footprint
    throughput: Throughput


@dataclass(frozen=True)
class NotRun:
    """One model that a device cannot run.

    Attributes:
        name: The candidate, or ``teacher``.
        runtime: Inference runtime.
        precision: Type of its weights.
        batch: ``dynamic``, or 1.
        bytes: Size of its files.
        problem: Why not, and what to do about it.
    """

    name: str
    runtime: str
    precision: str
    batch: str | int
    bytes: int
    problem: str


@dataclass(frozen=True)
class Evaluation:
    """All measurements on one device.

    Attributes:
        device: Its name in ``evaluate.devices``.
        images: Validation images that accuracy was measured on.
        rounds: Rounds of processes side by side.
        ended: Why there were no more: the ratios ``settled``, or the most ``rounds`` or the
            ``time`` was reached.
        uncertainty: Half of the widest 95 % interval of a candidate's ratio, as a share of it.
        threads: Threads of the inference runtime.
        reference: Name of the candidate that is the fp32 student.
        candidates: What the device can run, in the order of ``candidates.json``.
        not_run: What it cannot run, in that order; the teacher comes last.
        teacher: The fp32 teacher, by ONNX Runtime; None where it is among ``not_run``.
        notes: What a reader of the figures has to know of the device.
        moments: The machine at the begin and the end of every round.
    """

    device: str
    images: int
    rounds: int
    ended: Literal["settled", "rounds", "time"]
    uncertainty: float
    threads: int
    reference: str
    candidates: list[Measured]
    not_run: list[NotRun]
    teacher: Measured | None
    notes: list[str]
    moments: list[Moment]


def evaluate_candidates(
    candidates_folder: Path,
    teacher: Path,
    data: PreparedData,
    params: Evaluate,
    *,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
    track: Track = silent,
) -> Evaluation:
    """Measures accuracy and latency of every candidate and of the teacher.

    Args:
        candidates_folder: What ``make_candidates`` wrote.
        teacher: The exported teacher.
        data: Its validation split is used, and no other.
        params: Rounds, runs, threads.
        runtime_folder: The folder that holds the device runtime's package.
        device: Where to measure.
        track: Shows progress.

    Raises:
        ArtefactError: A file is missing.
        DeviceError: The device failed, or it cannot run the candidate that is the reference.
    """
    listed = read_json(candidates_folder / "candidates.json")
    described: dict[str, dict[str, Any]] = {c["name"]: c for c in listed["candidates"]}
    models = {
        name: MeasuredModel(candidates_folder / c["model"], c["runtime"])
        for name, c in described.items()
    }
    described["teacher"] = {
        "runtime": "onnxruntime",
        "precision": "fp32",
        "batch": "dynamic",
        "bytes": teacher.stat().st_size if teacher.exists() else 0,
    }
    models["teacher"] = MeasuredModel(teacher, "onnxruntime")
    for name, model in models.items():
        if not model.path.is_file():
            raise ArtefactError(model.path, f"is missing, and with it {name}")

    images_path, labels = data.images_path("val"), data.split("val").labels
    reference = listed["reference"]
    problems: dict[str, str] = {}
    logits: dict[str, NDArray[np.float32]] = {}

    def give_up(name: str, error: MeasurementError) -> None:
        if isinstance(error, DeviceError):
            raise error
        if name == reference:
            raise DeviceError(
                device.name, f"{name}, which the others are held to, {error.problem}", error.remedy
            ) from error
        problems[name] = error.problem

    for name, model in track(models.items(), "classifying", len(models)):
        try:
            logits[name] = measure_logits(
                model,
                images_path,
                threads=params.threads,
                runtime_folder=runtime_folder,
                device=device,
            )
        except MeasurementError as error:
            give_up(name, error)

    rounds: Rounds | None = None
    throughputs: dict[str, Throughput] = {}
    while rounds is None:
        able = {name: model for name, model in models.items() if name not in problems}
        try:
            for name, model in track(able.items(), "throughput", len(able)):
                throughputs[name] = throughputs.get(name) or measure_throughput(
                    model,
                    images_path,
                    threads=[params.threads, *params.thread_sweep],
                    batches=params.batches,
                    sustained_seconds=params.sustained_seconds,
                    runtime_folder=runtime_folder,
                    device=device,
                )
            rounds = measure_latency(
                able,
                images_path,
                reference=reference,
                stopping=Stopping(params.rounds, params.max_rounds, params.minutes, params.settled),
                turns=params.turns,
                runs=params.runs,
                warmup=params.warmup,
                warmup_seconds=params.warmup_seconds,
                bystanders=["teacher"],
                threads=params.threads,
                runtime_folder=runtime_folder,
                device=device,
                track=track,
            )
        except MeasurementError as error:
            # Rounds without one of the models are other rounds: the rest takes its turns anew.
            failed = [name for name, model in able.items() if model.path == error.thing]
            if not failed:
                raise
            give_up(failed[0], error)
    timed = rounds
    latencies = timed.latencies
    reference_correct = correct(logits[reference], labels)

    def measured(name: str) -> Measured:
        scored: Accuracy = score(logits[name], labels)
        about = described[name]
        return Measured(
            name=name,
            runtime=about["runtime"],
            precision=about["precision"],
            batch=about["batch"],
            bytes=about["bytes"],
            accuracy=scored.accuracy,
            balanced_accuracy=scored.balanced_accuracy,
            top5=scored.top5,
            calibration_error=scored.calibration_error,
            recalls=scored.recalls,
            agreement=agreement(logits[name], logits[reference]),
            drop=paired_drop(reference_correct, correct(logits[name], labels)),
            latency=latencies[name],
            ratio=paired_ratio(latencies[name].round_ratios),
            demand=timed.demands[name],
            throughput=throughputs[name],
        )

    def not_run(name: str) -> NotRun:
        about = {key: described[name][key] for key in ("runtime", "precision", "batch", "bytes")}
        return NotRun(name=name, problem=problems[name], **about)

    return Evaluation(
        device=device.name,
        images=len(labels),
        rounds=timed.count,
        ended=timed.ended,
        uncertainty=timed.uncertainty,
        threads=params.threads,
        reference=reference,
        candidates=[measured(c["name"]) for c in listed["candidates"] if c["name"] in latencies],
        not_run=[not_run(name) for name in models if name in problems],
        teacher=measured("teacher") if "teacher" in latencies else None,
        notes=_other_versions(device.name, listed["candidates"], latencies),
        moments=timed.moments,
    )


def _other_versions(
    device: str, made: Sequence[Mapping[str, Any]], latencies: Mapping[str, Latency]
) -> list[str]:
    # OpenVINO's own version has the build behind a hyphen, that of its package has not.
    pairs = {
        (c["runtime"], latencies[c["name"]].runtime_version.partition("-")[0], c["runtime_version"])
        for c in made
        if c["name"] in latencies
    }
    return [
        f"{device} ran the candidates with {runtime} {there}, they were made with {runtime} {here}"
        for runtime, there, here in sorted(pairs)
        if there != here
    ]


def read_evaluation(path: Path) -> Evaluation:
    """Reads the JSON form of an evaluation.

    Raises:
        ArtefactError: It is missing, or is no evaluation.
    """
    try:
        return TypeAdapter(Evaluation).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtefactError(path, f"is no evaluation ({place}: {first['msg']})") from None


def write_table(path: Path, evaluations: Iterable[Evaluation]) -> None:
    """Writes a row a model and device, for ``dvc plots`` and for other programs.

    Latencies are in ms, accuracy and agreement in percent, the drop in percentage points; ``low``
    and ``high`` are the ends of 95 % intervals.
    """
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["device", "model", "p50_ms", "p90_ms", "p99_ms", "accuracy", "bytes"]
            + [f"{figure}{end}" for figure in ("ratio", "drop") for end in ("", "_low", "_high")]
            + ["agreement"]
        )
        for evaluation in evaluations:
            for m in (*evaluation.candidates, *filter(None, [evaluation.teacher])):
                times = (m.latency.p50_ms, m.latency.p90_ms, m.latency.p99_ms)
                ratio = (m.ratio.value, m.ratio.low, m.ratio.high)
                drop = (m.drop.points, m.drop.low, m.drop.high)
                writer.writerow(
                    [evaluation.device, m.name]
                    + [f"{time:.6g}" for time in times]
                    + [f"{100 * m.accuracy:.6g}", m.bytes]
                    + [f"{figure:.6g}" for figure in (*ratio, *drop, 100 * m.agreement)]
                )

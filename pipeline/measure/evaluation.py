"""Every candidate and the teacher, measured on the validation images of one machine."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtefactError
from pipeline.files import read_json, whole_file
from pipeline.measure.accuracy import Accuracy, Drop, agreement, correct, paired_drop, score
from pipeline.measure.latency import Latency, Ratio, measure_latency, paired_ratio
from pipeline.measure.predictions import predict
from pipeline.measure.runtime import MeasuredModel
from pipeline.params import Evaluate
from pipeline.progress import Track, silent


@dataclass(frozen=True)
class Measured:
    """One model on one machine.

    Attributes:
        name: The candidate, or ``teacher``.
        runtime: Inference runtime.
        precision: Type of its weights.
        batch: ``dynamic``, or 1.
        bytes: Size of its files.
        accuracy: Share of images classified right.
        balanced_accuracy: Mean recall of the classes.
        recalls: Recall per class; None for a class without images.
        agreement: Share of images classified like the fp32 student.
        drop: Accuracy lost to the fp32 student, paired by images.
        latency: At batch 1.
        ratio: Latency over that of the fp32 student, paired by rounds.
    """

    name: str
    runtime: str
    precision: str
    batch: str | int
    bytes: int
    accuracy: float
    balanced_accuracy: float
    recalls: list[float | None]
    agreement: float
    drop: Drop
    latency: Latency
    ratio: Ratio


@dataclass(frozen=True)
class Evaluation:
    """All measurements.

    Attributes:
        images: Validation images that accuracy was measured on.
        rounds: Interleaved rounds of processes.
        threads: Threads of the inference runtime.
        reference: Name of the candidate that is the fp32 student.
        candidates: In the order of ``candidates.json``.
        teacher: The fp32 teacher, by ONNX Runtime.
    """

    images: int
    rounds: int
    threads: int
    reference: str
    candidates: list[Measured]
    teacher: Measured


def evaluate_candidates(
    candidates_folder: Path,
    teacher: Path,
    data: PreparedData,
    params: Evaluate,
    *,
    runtime_folder: Path,
    track: Track = silent,
) -> Evaluation:
    """Measures accuracy and latency of every candidate and of the teacher.

    Args:
        candidates_folder: What ``make_candidates`` wrote.
        teacher: The exported teacher.
        data: Its validation split is used, and no other.
        params: Rounds, runs, threads.
        runtime_folder: The folder that holds the device runtime's package.
        track: Shows progress.

    Raises:
        ArtefactError: A file is missing.
        MeasurementError: A model cannot be run.
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

    images_path, labels = data.images_path("val"), data.split("val").labels
    logits = {
        name: predict(model, images_path, threads=params.threads, runtime_folder=runtime_folder)
        for name, model in track(models.items(), "classifying", len(models))
    }
    latencies = measure_latency(
        models,
        images_path,
        rounds=params.rounds,
        runs=params.runs,
        warmup=params.warmup,
        threads=params.threads,
        runtime_folder=runtime_folder,
        track=track,
    )
    reference = listed["reference"]
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
            recalls=scored.recalls,
            agreement=agreement(logits[name], logits[reference]),
            drop=paired_drop(reference_correct, correct(logits[name], labels)),
            latency=latencies[name],
            ratio=paired_ratio(latencies[name].round_p50s_ms, latencies[reference].round_p50s_ms),
        )

    return Evaluation(
        images=len(labels),
        rounds=params.rounds,
        threads=params.threads,
        reference=reference,
        candidates=[measured(c["name"]) for c in listed["candidates"]],
        teacher=measured("teacher"),
    )


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


def write_table(path: Path, evaluation: Evaluation) -> None:
    """Writes a row a model, for ``dvc plots``: latency in ms, accuracy in percent."""
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "p50_ms", "p90_ms", "p99_ms", "accuracy", "bytes"])
        for m in (*evaluation.candidates, evaluation.teacher):
            latency = m.latency
            writer.writerow(
                [m.name, latency.p50_ms, latency.p90_ms, latency.p99_ms, 100 * m.accuracy, m.bytes]
            )

"""What is in the bundle, held against the teacher and the fp32 student on the test images."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData
from pipeline.files import hash_file, read_json
from pipeline.measure.accuracy import agreement, correct, score
from pipeline.measure.predictions import measure_bundle_logits, measure_logits
from pipeline.measure.runtime import MeasuredModel
from pipeline.progress import Track, silent
from pipeline.shipping.bundle import unpack_bundle
from pipeline.statistics import AccuracyDrop, paired_drop


@dataclass(frozen=True)
class Figures:
    """Of one model on the test images; shares in 0 … 1.

    Attributes:
        accuracy: Share of images classified right.
        balanced_accuracy: Mean recall of the classes.
        recalls: Recall per class; None for a class without images.
        agreement: Share of images classified like the fp32 student.
    """

    accuracy: float
    balanced_accuracy: float
    recalls: list[float | None]
    agreement: float


@dataclass(frozen=True)
class Verified:
    """The acceptance test.

    Attributes:
        bundle_sha256: Of the archive.
        bundle_bytes: Size of the archive.
        candidate: Name of the candidate in it.
        images: Test images.
        shipped: The model in the bundle, run by the runtime in the bundle.
        student: The fp32 student.
        teacher: The teacher.
        drop_to_student: Accuracy that the shipped model loses to the fp32 student.
        drop_to_teacher: Accuracy that the shipped model loses to the teacher.
    """

    bundle_sha256: str
    bundle_bytes: int
    candidate: str
    images: int
    shipped: Figures
    student: Figures
    teacher: Figures
    drop_to_student: AccuracyDrop
    drop_to_teacher: AccuracyDrop


def verify_bundle(
    archive: Path,
    *,
    teacher: Path,
    student: Path,
    data: PreparedData,
    runtime_folder: Path,
    track: Track = silent,
) -> Verified:
    """Unpacks a bundle and runs it, with nothing but what is in it, over the test split.

    Args:
        archive: The bundle.
        teacher: The exported teacher.
        student: The exported fp32 student.
        data: Its test split is read here and nowhere else.
        runtime_folder: Folder of the device runtime, for teacher and student.
        track: Shows progress.

    Raises:
        ArtefactError: The bundle or a model is missing or damaged.
        MeasurementError: A model cannot be run.
    """
    images, labels = data.images_path("test"), data.split("test").labels
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack_bundle(archive, Path(temporary))
        manifest = read_json(folder / "manifest.json")

        def run(name: str) -> NDArray[np.float32]:
            if name == "shipped":
                return measure_bundle_logits(folder, images, threads=manifest["threads"])
            path = {"teacher": teacher, "student": student}[name]
            model = MeasuredModel(path, "onnxruntime")
            return measure_logits(
                model, images, threads=manifest["threads"], runtime_folder=runtime_folder
            )

        names = ("shipped", "student", "teacher")
        logits = {name: run(name) for name in track(names, "verifying", len(names))}

    def figures(name: str) -> Figures:
        scored = score(logits[name], labels)
        return Figures(
            scored.accuracy,
            scored.balanced_accuracy,
            scored.recalls,
            agreement(logits[name], logits["student"]),
        )

    def drop_to(name: str) -> AccuracyDrop:
        return paired_drop(correct(logits[name], labels), correct(logits["shipped"], labels))

    return Verified(
        bundle_sha256=hash_file(archive),
        bundle_bytes=archive.stat().st_size,
        candidate=manifest["chosen"]["name"],
        images=len(labels),
        shipped=figures("shipped"),
        student=figures("student"),
        teacher=figures("teacher"),
        drop_to_student=drop_to("student"),
        drop_to_teacher=drop_to("teacher"),
    )

"""Compares the bundle with the teacher and the fp32 student on the test split."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.class_metrics import Fraction
from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError
from pipeline.export.onnx_metadata import read_image_size
from pipeline.files import hash_file, parse_artifact, read_json
from pipeline.measure.accuracy import agreement, correct, score
from pipeline.measure.reliability import Reliability, fit_temperature, measure_reliability
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.progress import Track, silent
from pipeline.provenance import check_inputs
from pipeline.shipping.answers import Answers, top_classes, write_answers
from pipeline.shipping.bundle import unpack_bundle
from pipeline.shipping.manifest import Manifest, by_place
from pipeline.statistics import AccuracyDrop, paired_drop


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of one model on the test split; fractions are in 0 ... 1.

    Attributes:
        accuracy: Fraction of correctly classified images.
        balanced_accuracy: Mean recall over the classes.
        recalls: Recall per class; None for a class without images.
        agreement: Fraction of images classified like the fp32 student.
    """

    accuracy: Fraction
    balanced_accuracy: Fraction
    recalls: list[Fraction | None]
    agreement: Fraction


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Three models on the test images.

    Attributes:
        images: Number of test images.
        shipped: The model in the bundle, run by the device runtime in the bundle.
        student, teacher: The fp32 models, run by the installed device runtime.
        drop_to_student, drop_to_teacher: Accuracy drops of the shipped model.
        reliability: Calibration of the shipped model.
        scaled: Its calibration with logits divided by a temperature.
    """

    images: int
    shipped: SplitMetrics
    student: SplitMetrics
    teacher: SplitMetrics
    drop_to_student: AccuracyDrop
    drop_to_teacher: AccuracyDrop
    reliability: Reliability
    scaled: Reliability


@dataclass(frozen=True, kw_only=True)
class Verification(Comparison):
    """Result of the acceptance test.

    Attributes:
        bundle_sha256: SHA-256 of the archive.
        bundle_bytes: Size of the archive.
        candidate: Name of the shipped candidate.
        answers_sha256: SHA-256 of the file with the answers of all models.
        data: Fingerprint of the prepared data.
    """

    bundle_sha256: str
    bundle_bytes: int
    candidate: str
    answers_sha256: str
    data: str


def compare_models(
    logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.integer], temperature: float
) -> Comparison:
    """Compares the models by their logits.

    Args:
        logits: Logits of ``shipped``, ``student`` and ``teacher``, [images, classes].
        labels: Class indices [images].
        temperature: Divisor of the shipped model's logits for ``scaled``.
    """
    right = {name: correct(each, labels) for name, each in logits.items()}

    def metrics(name: str) -> SplitMetrics:
        scored = score(logits[name], labels)
        agreed = agreement(logits[name], logits["student"])
        return SplitMetrics(scored.accuracy, scored.balanced_accuracy, scored.recalls, agreed)

    return Comparison(
        images=len(labels),
        shipped=metrics("shipped"),
        student=metrics("student"),
        teacher=metrics("teacher"),
        drop_to_student=paired_drop(right["student"], right["shipped"]),
        drop_to_teacher=paired_drop(right["teacher"], right["shipped"]),
        reliability=measure_reliability(logits["shipped"], right["shipped"]),
        scaled=measure_reliability(logits["shipped"], right["shipped"], temperature),
    )


def verify_bundle(
    archive: Path,
    *,
    manifest: Path,
    teacher: Path,
    student: Path,
    data: PreparedData,
    runtime_folder: Path,
    answers: Path,
    track: Track = silent,
) -> Verification:
    """Unpacks a bundle and runs it on the test split, with only the files in it.

    The validation split is read for the temperature alone.

    Args:
        archive: The bundle.
        manifest: The copy of its manifest that ``finch bundle`` wrote.
        teacher: The exported teacher.
        student: The exported fp32 student.
        data: Prepared data.
        runtime_folder: Folder of the device runtime, for teacher and student.
        answers: The file to write with the most probable classes of each test image.
        track: Progress display.

    Raises:
        ArtifactError: The bundle or a model is missing or damaged; the bundle has another manifest,
            or was made from other data, models or another device runtime.
        MeasurementError: A model cannot be run.
    """
    recorded = read_json(manifest)
    expected = parse_artifact(manifest, Manifest, recorded)
    models_now = {path.name: hash_file(path) for path in (teacher, student)}
    made_from = expected.made_from
    runtime_now = DeviceRuntime(runtime_folder).content_hash()
    check_inputs(
        manifest,
        {"data": made_from.data, "runtime": made_from.runtime, **by_place(made_from.onnx, "onnx")},
        data=data.fingerprint,
        runtime=runtime_now,
        **by_place(models_now, "onnx"),
    )
    labels = data.split("test", read_image_size(student)).labels
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack_bundle(archive, Path(temporary))
        if read_json(folder / "manifest.json") != recorded:
            raise ArtifactError(archive, f"has another manifest than {manifest.name} beside it")
        networks = {"student": student, "teacher": teacher}
        logits = _run(folder, networks, data, runtime_folder, expected.threads, track)
    val = data.split("val", read_image_size(student))
    temperature = fit_temperature(logits.pop("validation"), val.labels)
    top = {name: top_classes(each) for name, each in logits.items()}
    write_answers(answers, Answers(data.names("test"), labels, top), data.classes)
    return Verification(
        **vars(compare_models(logits, labels, temperature)),
        bundle_sha256=hash_file(archive),
        bundle_bytes=archive.stat().st_size,
        candidate=expected.chosen.name,
        answers_sha256=hash_file(answers),
        data=data.fingerprint,
    )


def _run(
    bundle: Path,
    networks: dict[str, Path],
    data: PreparedData,
    runtime_folder: Path,
    threads: int,
    track: Track,
) -> dict[str, NDArray[np.float32]]:
    """Logits on the test images by model; ``validation`` are those of the bundle on these."""
    sizes = {name: read_image_size(path) for name, path in networks.items()}
    for size in sizes.values():
        data.split("test", size)  # checks the files
    data.split("val", sizes["student"])
    test = {name: data.images_path("test", size) for name, size in sizes.items()}
    packed, installed = DeviceRuntime(bundle), DeviceRuntime(runtime_folder)
    shipped = MeasuredModel(bundle, None)
    runs = {
        "shipped": (packed, shipped, test["student"]),
        "validation": (packed, shipped, data.images_path("val", sizes["student"])),
    }
    for name, path in networks.items():
        runs[name] = (installed, MeasuredModel(path, "onnxruntime"), test[name])
    return {
        name: runtime.predict(model, images, threads)
        for name, (runtime, model, images) in track(runs.items(), "verifying", len(runs))
    }

"""Measures one ONNX file beside the fp32 student, as ``evaluate`` measures candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from finch_runtime.image_size import ImageSize, height_and_width, in_pixels
from finch_runtime.protocol import ComparePlan

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError, MeasurementError
from pipeline.export.foreign_onnx import adapt_onnx
from pipeline.export.onnx_metadata import read_image_size
from pipeline.files import hash_file
from pipeline.measure.accuracy import Accuracy, check_that_logits_vary, correct, score
from pipeline.measure.latency import Footprint, Latency, LatencyPlan, measure_latency
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.params import Evaluate
from pipeline.progress import Track, silent
from pipeline.statistics import AccuracyDrop, LatencyRatio, paired_drop

_FILE, _REFERENCE = "file", "student"


@dataclass(frozen=True)
class FileMeasurement:
    """Measurements of a file on the validation images.

    Attributes:
        model: Name of the file.
        sha256: Of the file.
        bytes: Size of the file.
        image_size: Size of its images.
        images: Number of validation images.
        accuracy: Accuracy and its details.
        latency: Latency at batch 1, with ONNX Runtime.
        footprint: Memory and energy.
        drop: Accuracy drop relative to the fp32 student; None without one.
        ratio: Latency ratio to the fp32 student; None without one.
    """

    model: str
    sha256: str
    bytes: int
    image_size: ImageSize
    images: int
    accuracy: Accuracy
    latency: Latency
    footprint: Footprint
    drop: AccuracyDrop | None
    ratio: LatencyRatio | None


def measure_file(
    path: Path,
    data: PreparedData,
    params: Evaluate,
    runtime_folder: Path,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    student: Path | None = None,
    track: Track = silent,
) -> FileMeasurement:
    """Measures accuracy and latency of an ONNX file on this machine.

    Args:
        path: The file. Its outputs are in the order of the data's classes.
        data: Prepared data; only the validation split is used.
        params: Rounds, turns and threads.
        runtime_folder: Folder that contains the package ``finch_runtime``.
        mean: See ``adapt_onnx``; also ``std``.
        std: See ``mean``.
        student: Exported fp32 student, which is timed in turns with the file.
        track: Progress display.

    Raises:
        ArtifactError: The file has other inputs, outputs or classes than the data, or images of a
            size or with channels that are not prepared.
        MeasurementError: It cannot be run.
    """
    info = data.info
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        form = adapt_onnx(
            path, copy, classes=len(info.classes), default_size=data.image_size, mean=mean, std=std
        )
        if form.channels != info.channels:
            problem = f"takes images with {form.channels} channels, the data has {info.channels}"
            raise ArtifactError(path, problem, "export it for such images")
        models = {_FILE: MeasuredModel(copy, "onnxruntime", _images(path, data, form.size))}
        if student is not None:
            own = data.images_path("val", read_image_size(student))
            models[_REFERENCE] = MeasuredModel(student, "onnxruntime", own)
        runtime, images = DeviceRuntime(runtime_folder), data.images_path("val")
        reference = _FILE if student is None else _REFERENCE
        plan = LatencyPlan(
            reference=reference,
            threads=params.threads,
            rounds=params.rounds,
            max_rounds=params.max_rounds,
            max_minutes=params.max_minutes,
            max_half_width=params.max_half_width,
            turns=ComparePlan(params.turns, params.runs, params.warmup, params.warmup_seconds),
        )
        try:
            logits = {
                name: runtime.predict(model, images, params.threads)
                for name, model in track(models.items(), "classifying", len(models))
            }
            if logits[_FILE].shape[1] != len(info.classes):
                problem = f"has {logits[_FILE].shape[1]} classes, the data has {len(info.classes)}"
                raise ArtifactError(path, problem, "train it on the same classes")
            check_that_logits_vary(logits[_FILE])
            rounds = measure_latency(models, images, runtime, plan, track)
        except MeasurementError as error:  # names the copy
            raise MeasurementError(path, error.problem, error.remedy) from None
    labels = data.split("val").labels
    latency, is_right = rounds.latencies[_FILE], correct(logits[_FILE], labels)
    return FileMeasurement(
        model=path.name,
        sha256=hash_file(path),
        bytes=path.stat().st_size,
        image_size=form.size,
        images=len(labels),
        accuracy=score(logits[_FILE], labels),
        latency=latency,
        footprint=rounds.footprints[_FILE],
        drop=paired_drop(correct(logits[reference], labels), is_right) if student else None,
        ratio=latency.ratio() if student else None,
    )


def _images(path: Path, data: PreparedData, size: ImageSize) -> Path:
    """The validation images of a size, whose file is checked."""
    try:
        data.split("val", size)
    except ArtifactError as error:
        if data.folder / "dataset.json" != error.path:
            raise
        problem = f"takes images of {in_pixels(size)}, which are not prepared"
        height, width = height_and_width(size)
        values = f"prepare.image_size={height}"
        if data.size_at(height) != size:
            values += f" and prepare.aspect_ratio={width / height:.5g}"
        remedy = (
            f"set {values} and run `finch prepare`, or export it for {in_pixels(data.image_size)}"
        )
        raise ArtifactError(path, problem, remedy) from None
    return data.images_path("val", size)

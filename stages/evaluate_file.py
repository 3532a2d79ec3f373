"""Command ``evaluate-file``: measures an ONNX file that another tool made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stages.command import Context, json_option, stage
from stages.console import echo, track

if TYPE_CHECKING:
    from pipeline.measure.single_file import FileMeasurement

_Channels = tuple[float, float, float]


def _per_channel(name: str, default: _Channels, help_text: str) -> click.Option:
    return click.Option(
        [f"--{name}"], nargs=3, type=float, default=default, show_default=True, help=help_text
    )


@stage(
    reads="MODEL, data/prepared/ (validation images), models/onnx/student.onnx if it exists",
    writes="nothing; prints to standard output",
    options=[
        click.Argument(["model"], type=click.Path(path_type=Path)),
        _per_channel("mean", (0.485, 0.456, 0.406), "Mean of the model's normalization (RGB)."),
        _per_channel("std", (0.229, 0.224, 0.225), "Standard deviation of the normalization."),
        json_option("Print all measurements."),
    ],
)
def evaluate_file(
    context: Context, model: Path, mean: _Channels, std: _Channels, as_json: bool
) -> None:
    """Measure an ONNX model that was made elsewhere.

    Accuracy and latency are measured on the validation images, on this machine and with the
    parameters of `evaluate`, in turns with the fp32 student if there is one. The model takes float
    images, [n, 3, height, width] or [n, height, width, 3], with pixels (value / 255 - mean) / std,
    and returns logits or probabilities in the order of the classes in data/prepared/dataset.json.
    """
    from dataclasses import asdict

    from pipeline.data.prepared import open_prepared
    from pipeline.errors import FinchError
    from pipeline.measure.single_file import measure_file

    paths = context.paths
    if min(std) <= 0:
        raise FinchError(f"--std {' '.join(map(str, std))}", "must be positive")
    student = paths.onnx / "student.onnx"
    found = measure_file(
        model,
        open_prepared(paths.prepared),
        context.params.evaluate,
        paths.runtime,
        mean=mean,
        std=std,
        student=student if student.exists() else None,
        track=track,
    )
    if as_json:
        echo(json.dumps(asdict(found), indent=2))
    else:
        echo("\n".join(_lines(found)))


def _lines(found: FileMeasurement) -> list[str]:
    from finch_runtime.image_size import in_pixels

    accuracy, latency, peak = found.accuracy, found.latency, found.footprint.peak_bytes
    lines = [
        f"{found.model}: {found.bytes / 1e6:.2f} MB, {in_pixels(found.image_size)}, "
        f"{found.images} validation images",
        f"accuracy  {accuracy.accuracy:.1%} (balanced {accuracy.balanced_accuracy:.1%})",
        f"latency   p50 {latency.p50_ms:.3f} ms, p90 {latency.p90_ms:.3f} ms, "
        f"p99 {latency.p99_ms:.3f} ms, {latency.threads} thread(s)",
    ]
    if found.drop and found.ratio:
        drop, ratio = found.drop, found.ratio
        lines[1] += (
            f", {drop.points:+.1f} points lost beside the fp32 student "
            f"(95 % CI {drop.low:+.1f} to {drop.high:+.1f})"
        )
        lines[2] += (
            f", {ratio.value:.2f} x the fp32 student (95 % CI {ratio.low:.2f} to {ratio.high:.2f})"
        )
    return [*lines, f"memory    {peak / 1e6:.0f} MB peak"] if peak else lines


if __name__ == "__main__":
    evaluate_file()

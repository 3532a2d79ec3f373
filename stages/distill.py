"""Stage distill: trains the student."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.measure.accuracy import Accuracy
    from pipeline.training.task import TrainingTask


@stage(
    reads="data/teacher_logits/, data/prepared/, models/teacher/",
    writes="models/student/ (safetensors, model.json, class_order.json), reports/student.json, "
    "reports/student_history.csv, reports/student_metrics.json, reports/student_confusion.csv",
    distributed=True,
)
def distill(context: Context) -> None:
    """Train the student with the labels and the teacher's logits."""
    from pipeline.losses.figkd.class_order import describe_order
    from pipeline.training.distillation_inputs import (
        measure_band_energy,
        open_distillation_inputs,
    )
    from stages.training import StageTraining

    recipe, paths = context.params.distill, context.paths
    inputs = open_distillation_inputs(
        context.params, recipe, paths.prepared, paths.teacher, paths.teacher_logits
    )
    data, order = inputs.data, inputs.class_order
    class_order = describe_order(recipe.class_order, order, data.classes)
    training = StageTraining(context, "distill", inputs.task, inputs.device, inputs.key_inputs)
    started = training.initialize(recipe, data)
    record = {
        "data": data.fingerprint,
        "teacher_logits": vars(inputs.cache_key),
        "cache": inputs.cache_sha256,
        "class_order": {"order": order, "sha256": class_order["sha256"]},
        "initial": started.record,
    }
    files = {"class_order.json": class_order}
    figures: dict[str, Any] = _describe_unlabelled(context, inputs.task)
    if energy := measure_band_energy(inputs):
        figures["band_energy"] = energy
    trained = training.run(started.model)
    if scored := training.save("student", trained, record, files, figures=figures):
        _write_for_dvc(paths.reports, scored, data.classes)


def _write_for_dvc(reports: Path, scored: Accuracy, classes: Sequence[str]) -> None:
    """Writes the two figures of `dvc metrics`, and one row per validation image for `dvc plots`."""
    from pipeline.files import atomic_file, write_json

    figures = {"val_student": scored.accuracy, "val_student_balanced": scored.balanced_accuracy}
    write_json(reports / "student_metrics.json", figures)
    path = reports / "student_confusion.csv"
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "prediction"])
        for name, row in zip(classes, scored.confusion, strict=True):
            for prediction, images in zip(classes, row, strict=True):
                writer.writerows([(name, prediction)] * images)


def _describe_unlabelled(context: Context, task: TrainingTask) -> dict[str, int]:
    """Logs and returns how many images without labels are used; empty if there are none."""
    if (unlabelled := task.unlabelled) is None:
        return {}
    used = len(unlabelled.used) if unlabelled.ratio else 0
    context.log.info(
        f"learning from {used} of {len(unlabelled)} images without labels, "
        f"{unlabelled.ratio:g} per image with a label"
    )
    return {"unlabelled": used, "unlabelled_left_out": len(unlabelled) - used}


if __name__ == "__main__":
    distill()

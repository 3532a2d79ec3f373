"""Test accuracy of the students of several methods and seeds, with one teacher.

    python benchmarks/seeds.py PARAMS FOLDER [--methods figkd cross_entropy] [--seeds 5]

`PARAMS` is a parameter file, such as `params.yaml`. `FOLDER` gets a project for the teacher and for
each student. An interrupted run resumes after the last finished stage; other parameters need
another folder. The output is the accuracy, the balanced accuracy and the lowest recall of a class,
on the validation and the test images in percent, as mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from pathlib import Path

import yaml
from projects import CPU, make_project, run_stage

from pipeline.data.prepared import open_prepared
from pipeline.measure.accuracy import Accuracy, score
from pipeline.models.classifier import load_classifier
from pipeline.params.editing import merged
from pipeline.training.validation import compute_logits


def train(params: Path, folder: Path, methods: Iterable[str], seeds: int) -> dict[str, list[Path]]:
    """Trains a teacher and its students; returns the projects of the students by method."""
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    teacher = make_project(folder / "teacher", yaml.safe_dump(values), {})
    for stage in ("resolve", "inputs", "prepare", "finetune", "cache_logits"):
        run_stage(stage, teacher)
    links = {name: teacher / name for name in ("data", "models/teacher")}
    students: dict[str, list[Path]] = {method: [] for method in methods}
    for seed in range(seeds):
        for method, projects in students.items():
            own = {"run": {"seed": seed}, "distill": {"method": method}}
            text = yaml.safe_dump(merged(values, own))
            student = make_project(folder / f"{method}-{seed}", text, links)
            for stage in ("resolve", "inputs", "distill"):
                run_stage(stage, student)
            projects.append(student)
    return students


def evaluate(project: Path, network: str, split: str) -> Accuracy:
    """Metrics of ``teacher`` or ``student`` on ``val`` or ``test``."""
    model, _ = load_classifier(project / "models" / network, CPU)
    images = open_prepared(project / "data/prepared").split(split, model.spec.image_size)
    return score(compute_logits(model, images, CPU), images.labels)


def summary(name: str, split: str, metrics: list[Accuracy]) -> str:
    """One line about the networks of a method."""
    columns = {
        "accuracy": [m.accuracy for m in metrics],
        "balanced": [m.balanced_accuracy for m in metrics],
        "lowest recall": [min(r for r in m.recalls if r is not None) for m in metrics],
    }
    cells = []
    for column, values in columns.items():
        spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{column} {100 * statistics.fmean(values):.1f}{spread}")
    return f"{name}, {split}: {', '.join(cells)}"


def main() -> None:
    """Trains all networks, and prints their metrics."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["figkd", "cross_entropy"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()

    students = train(options.params, options.folder, options.methods, options.seeds)
    for split in ("val", "test"):
        print(summary("teacher", split, [evaluate(options.folder / "teacher", "teacher", split)]))
        for method, projects in students.items():
            print(summary(method, split, [evaluate(p, "student", split) for p in projects]))


if __name__ == "__main__":
    main()

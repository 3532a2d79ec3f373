"""Worth of images without labels: Grocery Store with most labels of the training images hidden.

    python benchmarks/unlabelled.py IMAGES FOLDER [--fractions 0.25 0.5] [--seeds 5] [--ratio 1]

`IMAGES` is the Grocery Store Dataset. For each fraction, that part of each class keeps its labels.
The teacher is fine-tuned on these images alone; its students learn from these images
(`labelled only`), and from these and the images without labels (`with unlabelled`). `all labels` is
a teacher with all labels and its students. All trainings take the same number of steps: with a
quarter of the labels, four times the epochs.

`FOLDER` gets a project per fraction and per student, and `unlabelled.csv` with the test accuracy of
every teacher and student. The output is their mean and standard deviation over the seeds of the
students, and the part of the gap to all labels that the images without labels close. An interrupted
run resumes after the last finished stage; other options need another folder.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from projects import ROOT, make_project, run_stage, test_accuracy

from pipeline.data.sources import Sample, read_source
from pipeline.params.editing import changed
from pipeline.params.prepare import prepare_model

PARAMS = ROOT / "docs/results/grocery_store_ten_seeds.yaml"
# The defaults of the loss, unlike in that file.
FIGKD = {"detail_weight": 0.15, "kd_weight": 3.0}


def write_table(images: Path, table: Path, fraction: float) -> None:
    """Writes the data set as a table in which a part of each class keeps its training labels."""
    source = prepare_model()(source="grocery_store", path=str(images), split="published")
    dataset = read_source(source)
    of_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.split == "train":
            of_class[sample.label].append(sample)
    # Consecutive photographs are alike, so the labelled ones are spread evenly.
    labelled = {
        samples[round(index / fraction)].name
        for samples in of_class.values()
        for index in range(math.ceil(fraction * len(samples)))
        if round(index / fraction) < len(samples)
    }
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for sample in dataset.samples:
            hidden = sample.split == "train" and sample.name not in labelled
            label = "" if hidden else dataset.classes[sample.label]
            writer.writerow([sample.name, label, sample.split])


def train(options: argparse.Namespace, fraction: float) -> Iterator[dict[str, Any]]:
    """Trains a teacher and its students; yields a row for each."""
    folder, images = options.folder / f"{fraction:g}", options.images.resolve()
    text = PARAMS.read_text(encoding="utf-8")
    base = yaml.safe_load(text)
    epochs = {
        section: {"epochs": max(1, round(options.epochs * base[section]["epochs"] / fraction))}
        for section in ("finetune", "distill")
    }
    table = folder / "images.csv"
    values: dict[str, Any] = {
        **epochs,
        "prepare": {
            "source": "csv",
            "path": str(table.resolve()),
            "csv": {"root": str(images), "empty_labels": "unlabelled"},
            "on_bad": "skip",
            "allow_leakage": True,  # as in the published splits
        },
        "distill": {**epochs["distill"], "method": options.method, "figkd": FIGKD},
    }
    if not table.exists():
        write_table(images, table, fraction)
    teacher = make_project(folder / "teacher", changed(text, values), {})
    for stage in ("prepare", "finetune", "cache_logits"):
        run_stage(stage, teacher)
    kind = "all labels" if fraction == 1 else "labelled only"
    row = {"fraction": fraction, "ratio": 0.0, "seed": 0}
    yield {**row, "network": "teacher", "kind": kind, "accuracy": test_accuracy(teacher, "teacher")}
    for ratio in (0.0,) if fraction == 1 else (0.0, options.ratio):
        kind = "with unlabelled" if ratio else kind
        for seed in range(options.seeds):
            values["run"] = {"seed": seed}
            values["distill"]["unlabelled"] = {
                "ratio": ratio,
                "min_confidence": options.min_confidence,
            }
            links = {name: teacher / name for name in ("data", "models/teacher")}
            student = make_project(
                folder / f"student-{ratio:g}-{seed}", changed(text, values), links
            )
            run_stage("distill", student)
            row = {"fraction": fraction, "ratio": ratio, "seed": seed, "network": "student"}
            yield {**row, "kind": kind, "accuracy": test_accuracy(student, "student")}


def main() -> None:
    """Trains all networks, and prints their test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.25, 0.5])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ratio", type=float, default=1.0, help="distill.unlabelled.ratio")
    parser.add_argument("--min-confidence", type=float, default=0.0)
    parser.add_argument("--method", default="figkd")
    parser.add_argument("--epochs", type=float, default=1.0, help="factor of all epochs")
    options = parser.parse_args()

    rows = [row for fraction in (*options.fractions, 1.0) for row in train(options, fraction)]
    with (options.folder / "unlabelled.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    found: dict[tuple[float, str, str], list[float]] = defaultdict(list)
    for row in rows:
        found[row["fraction"], row["network"], row["kind"]].append(row["accuracy"])
    means = {key: statistics.fmean(values) for key, values in found.items()}
    for (fraction, network, kind), values in found.items():
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        mean = means[fraction, network, kind]
        print(f"{fraction:4g} of the labels, {network}, {kind}: {mean:.1f}{spread} %")
    for fraction in options.fractions:
        few = means[fraction, "student", "labelled only"]
        gap = means[1.0, "student", "all labels"] - few
        gain = means[fraction, "student", "with unlabelled"] - few
        closed = f", {gain / gap:.0%} of the gap of {gap:.1f}" if gap > 0 else ""
        print(f"{fraction:4g} of the labels: {gain:+.1f} points{closed}")


if __name__ == "__main__":
    main()

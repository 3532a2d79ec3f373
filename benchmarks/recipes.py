"""Variants of the recipe for photographs, on small subsets of Grocery Store.

    python benchmarks/recipes.py IMAGES FOLDER VARIANTS [--classes N] [--per-class N] [--seeds N]

`IMAGES` is the Grocery Store Dataset. A subset has the first `--per-class` training images of
`--classes` classes, as a user would bring them: validation images are taken from them by blocks.
The test images are all test images of these classes. They are from other shops and days.

`VARIANTS` is a YAML file of changes of `params.yaml` by name; the first is the baseline:

    recipe: {}
    larger: {prepare: {image_size: 192}}

Variants whose changes outside of `distill` are the same share their teachers. `FOLDER` gets a
folder per subset, with a project per teacher and student, and `recipes.csv`. An interrupted run
resumes after the last finished stage. The output is the test accuracy as mean and standard
deviation over the seeds, and the difference to the baseline, paired by seed, with the p value of
the paired t test.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from projects import ROOT, make_project, run_stage, test_accuracy
from scipy.stats import ttest_rel

from pipeline.data.sources import read_source
from pipeline.files import hash_value
from pipeline.params.editing import merged
from pipeline.params.prepare import prepare_model

# Look-alike apples, and a pear.
SIX = ("Golden-Delicious", "Granny-Smith", "Pink-Lady", "Red-Delicious", "Royal-Gala", "Kaiser")


def write_table(images: Path, table: Path, classes: int, per_class: int) -> None:
    """Writes a subset as a table of training and test images.

    Args:
        images: The data set.
        table: The file to write.
        classes: Number of classes; 6 are look-alike fruits, otherwise the first ones.
        per_class: Number of training images of each class, or fewer if it has fewer; 0 for all.
    """
    source = prepare_model()(source="grocery_store", path=str(images), split="published")
    dataset = read_source(source)
    names = set(SIX if classes == len(SIX) else dataset.classes[:classes])
    taken: Counter[str] = Counter()
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for sample in dataset.samples:
            name = dataset.classes[sample.label]
            if name not in names or sample.split == "val":
                continue
            if sample.split == "train":
                taken[name] += 1
                if per_class and taken[name] > per_class:
                    continue
            writer.writerow([sample.name, name, sample.split])


def train(
    folder: Path, images: Path, table: Path, changes: Mapping[str, Any], seed: int
) -> dict[str, float]:
    """Trains a teacher, unless there is one, and a student; returns their test accuracies."""
    base = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = {
        "run": {"seed": seed},
        "prepare": {
            "source": "csv",
            "path": str(table.resolve()),
            "csv": {"root": str(images.resolve())},
            "allow_leakage": True,  # as in the published splits
        },
    }
    params = merged(merged(base, own), changes)
    of_teacher = {name: value for name, value in params.items() if name != "distill"}
    of_teacher["image_size"] = params["distill"].get("image_size")  # prepare packs it
    teacher = folder / f"teacher-{hash_value(of_teacher)[:12]}"
    make_project(teacher, yaml.safe_dump(params), {})
    for stage in ("resolve", "inputs", "prepare", "finetune", "cache_logits"):
        run_stage(stage, teacher)
    links = {name: teacher / name for name in ("data", "models/teacher")}
    student = folder / f"student-{hash_value(params)[:12]}"
    make_project(student, yaml.safe_dump(params), links)
    for stage in ("resolve", "inputs", "distill"):
        run_stage(stage, student)
    return {name: test_accuracy(student, name) for name in ("teacher", "student")}


def subset_folder(options: argparse.Namespace) -> Path:
    """The folder of a subset, such as ``6x35``."""
    folder: Path = options.folder / f"{options.classes}x{options.per_class or 'all'}"
    return folder


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row per variant and seed."""
    variants = yaml.safe_load(options.variants.read_text(encoding="utf-8"))
    folder = subset_folder(options)
    table = folder / "images.csv"
    write_table(options.images, table, options.classes, options.per_class)
    for seed in range(options.seeds):
        for name, changes in variants.items():
            found = train(folder, options.images, table, changes or {}, seed)
            row = {"variant": name, "seed": seed, **found}
            print(json.dumps(row), flush=True)
            yield row


def main() -> None:
    """Trains all networks, and prints their test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("variants", type=Path)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--per-class", type=int, default=35, help="0: all images")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    table = list(rows(options))
    with (subset_folder(options) / "recipes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    for network in ("teacher", "student"):
        found: dict[str, list[float]] = defaultdict(list)
        for row in table:
            found[row["variant"]].append(row[network])
        baseline, *_ = found.values()
        for name, values in found.items():
            line = f"{network}, {name}: {statistics.fmean(values):.1f}"
            if len(values) > 1:
                line += f" ± {statistics.stdev(values):.1f}"
                if values != baseline:  # equal if the teachers are shared
                    p = float(ttest_rel(values, baseline).pvalue)
                    gain = statistics.fmean(values) - statistics.fmean(baseline)
                    line += f" %, {gain:+.1f} points, p = {p:.3f}"
            print(line)


if __name__ == "__main__":
    main()

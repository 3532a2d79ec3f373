"""Variants of the recipe for photographs, on small subsets of Grocery Store.

    python benchmarks/recipes.py IMAGES FOLDER VARIANTS [--classes N] [--per-class N] [--seeds N]
        [--params FILE] [--one-teacher]

`IMAGES` is the Grocery Store Dataset. A subset has the first `--per-class` training images of
`--classes` classes, as a user would bring them: validation images are taken from them by blocks.
The test images are all test images of these classes. They are from other shops and days. With
`--classes 81 --per-class 0`, the data set has its published splits.

`VARIANTS` is a YAML file of changes of `params.yaml` by name; the first is the baseline:

    recipe: {}
    larger: {prepare: {image_size: 192}}

Variants whose changes outside of `distill` are the same share their teachers; with `--one-teacher`,
the students of all seeds share the teacher of seed 0, so that teachers do not add to the spread.
`--params` is the parameter file that the variants change, by default `params.yaml`. `FOLDER` gets a
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

CLASSES = 81
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


def subset(options: argparse.Namespace) -> dict[str, Any]:
    """The section `prepare` of a subset; writes its table."""
    images = options.images.resolve()
    leakage = {"allow_leakage": True}  # the published splits have near-duplicates
    if options.classes >= CLASSES and not options.per_class:
        return {"source": "grocery_store", "path": str(images), "split": "published", **leakage}
    table = subset_folder(options).resolve() / "images.csv"
    write_table(images, table, options.classes, options.per_class)
    return {"source": "csv", "path": str(table), "csv": {"root": str(images)}, **leakage}


def train(
    folder: Path, base: Mapping[str, Any], changes: Mapping[str, Any], seed: int, teacher_seed: int
) -> dict[str, float]:
    """Trains a teacher, unless there is one, and a student; returns their test accuracies."""
    params = merged(merged(base, changes), {"run": {"seed": seed}})
    of_teacher = {name: value for name, value in params.items() if name != "distill"}
    of_teacher = merged(of_teacher, {"run": {"seed": teacher_seed}})
    packed = {"distill": {"image_size": params["distill"].get("image_size")}}
    teacher = folder / f"teacher-{hash_value(merged(of_teacher, packed))[:12]}"
    of_teacher["distill"] = params["distill"]
    make_project(teacher, yaml.safe_dump(of_teacher), {})
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
    base = yaml.safe_load(options.params.read_text(encoding="utf-8"))
    base = merged(base, {"prepare": subset(options)})
    for seed in range(options.seeds):
        teacher_seed = 0 if options.one_teacher else seed
        for name, changes in variants.items():
            found = train(folder, base, changes or {}, seed, teacher_seed)
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
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--one-teacher", action="store_true")
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

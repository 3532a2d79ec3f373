"""Distillation methods on equal terms: same data, logit cache, views, epochs and seeds.

    python benchmarks/methods.py --seeds 3 cross_entropy figkd "kd distill.kd.weight=1"

Each argument is a method, with parameters to override after it. Needs the outputs of `prepare`,
`finetune` and `cache_logits`. Figures are validation accuracy; the test split is left alone. The
last weights are judged as well as the best, since the best epoch of a noisy curve flatters all.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from pipeline import losses
from pipeline.class_order import order_classes
from pipeline.data.prepared import open_prepared
from pipeline.files import read_json
from pipeline.logit_cache import cache_key, open_logit_cache
from pipeline.measure.accuracy import score
from pipeline.models.classifier import build_classifier
from pipeline.models.head import read_head_weights
from pipeline.params import load_params
from pipeline.training.device import prepare_torch
from pipeline.training.loop import TeacherAnswers, predict, train


def main() -> None:
    """Prints a row a run, and a table of means at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()

    data = open_prepared(Path("data/prepared"))
    train_split, val = data.split("train"), data.split("val")
    teacher = read_json(Path("models/teacher/model.json"))
    print(f"torch {torch.__version__}, {platform.machine()}, {len(val)} validation images")
    table = {}
    for line in options.methods:
        method, *overrides = line.split()
        rows = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            params = load_params(
                options.params,
                [*options.overrides, f"distill.method={method}", *overrides, f"run.seed={seed}"],
            )
            key = cache_key(teacher["weights_sha256"], data, params.views)
            logits = open_logit_cache(Path("data/teacher_logits"), key)
            order = order_classes(
                params.distill.class_order,
                train_split.labels,
                logits,
                classes=data.classes,
                head=partial(read_head_weights, Path("models/teacher")),
            )
            device = prepare_torch(params.run)
            started = time.perf_counter()
            trained = train(
                build_classifier(params.distill.model, data.classes, data.image_size),
                losses.build(params.distill, len(data.classes), order),
                params.distill,
                train_split,
                val,
                params.views,
                device=device,
                seed=seed,
                teacher=TeacherAnswers(logits),
            )
            scored = score(predict(trained.model, val, device), val.labels)
            last = trained.history[-1].val_accuracy
            rows.append((scored.accuracy, scored.balanced_accuracy, last))
            print(
                f"{line}, seed {seed}: best {scored.accuracy:.3f} (epoch {trained.best.epoch}), "
                f"balanced {scored.balanced_accuracy:.3f}, last {last:.3f}, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
        table[line] = rows
    print("\n| method | best | balanced | last epoch |\n|---|---|---|---|")
    for line, rows in table.items():
        cells = []
        for column in zip(*rows, strict=True):
            spread = statistics.stdev(column) if len(column) > 1 else float("nan")
            cells.append(f"{100 * statistics.mean(column):.1f} ± {100 * spread:.1f}")
        print(f"| {line} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

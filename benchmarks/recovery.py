"""What int8 takes from a student, and what a few epochs give back: by FiGKD, by cross-entropy.

    python benchmarks/recovery.py --project . --epochs 3 --seeds 3

Takes the student, the prepared data and the logit cache of a finished run, and its params.yaml.
Every method starts from the same int8 student, with the same learning rate, batches and views; a
seed is that of the calibration images and of the batches' order. As in the stage, validation images
choose the epoch, or the start where no epoch was better; test images chose nothing. Given are the
accuracies on both, and how far the logits' detail band is from that of the fp32 student on the
validation images (root mean square).
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import losses
from pipeline.data.prepared import open_prepared
from pipeline.files import read_json
from pipeline.logit_cache import cache_key, open_logit_cache
from pipeline.models.classifier import Classifier, load_classifier
from pipeline.params import Recover, load_params
from pipeline.quantize.calibration import draw_calibration
from pipeline.recovery.fake_quantized import fake_quantize
from pipeline.recovery.recovering import recover
from pipeline.recovery.requirements import check_requirements, compile_kernels
from pipeline.training.judging import predict
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher

METHODS = ("figkd", "cross_entropy")
CPU = torch.device("cpu")


def detail(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one-level Haar detail along the class axis."""
    even = logits[:, : logits.shape[1] // 2 * 2]
    return (even[:, ::2] - even[:, 1::2]) / np.float32(np.sqrt(2))


def main() -> None:
    """Prints a line a run, comma-separated, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    check_requirements()
    compile_kernels()

    params = load_params(asked.project / "params.yaml")
    models = asked.project / "models"
    data = open_prepared(asked.project / "data/prepared")
    train_split, val, test = (data.split(name) for name in ("train", "val", "test"))
    student, about = load_classifier(models / "student", CPU)
    key = cache_key(read_json(models / "teacher/model.json")["weights_sha256"], data, params.views)
    teacher = CachedTeacher(open_logit_cache(asked.project / "data/teacher_logits", key))
    exact = detail(predict(student, val, CPU))

    def blur(model: Classifier) -> float:
        return float(np.sqrt(((detail(predict(model, val, CPU)) - exact) ** 2).mean()))

    def tested(model: Classifier) -> float:
        return 100 * float((predict(model, test, CPU).argmax(axis=1) == test.labels).mean())

    print(
        f"{about['architecture']}, {asked.epochs} epochs, lr {asked.lr:g}, "
        f"{len(val)} validation and {len(test)} test images, {asked.threads} threads"
    )
    rows: list[dict[str, str | int | float]] = []
    test_before = tested(student)
    for seed in range(asked.seeds):
        calibration = draw_calibration(train_split, params.quantize.calibration_images, seed)
        start = fake_quantize(student, calibration)
        blurred, test_start = blur(start), tested(start)
        for method in METHODS:
            settings = Recover(epochs=asked.epochs, method=method, lr=asked.lr)
            recipe = settings.recipe(params.distill)
            learn = partial(
                train,
                objective=losses.build(recipe, len(data.classes), list(range(len(data.classes)))),
                recipe=recipe,
                train_split=train_split,
                val_split=val,
                views=params.views,
                device=CPU,
                seed=seed,
                teacher=teacher,
            )
            done = recover(student, copy.deepcopy(start), learn, val, CPU)
            row: dict[str, str | int | float] = {
                "method": method,
                "seed": seed,
                "epoch": done.epoch,
                "val_fp32": round(100 * done.accuracy_before, 2),
                "val_int8": round(100 * done.accuracy_quantized, 2),
                "val_recovered": round(100 * done.accuracy, 2),
                "test_fp32": round(test_before, 2),
                "test_int8": round(test_start, 2),
                "test_recovered": round(tested(done.model), 2),
                "detail_int8": round(blurred, 4),
                "detail_recovered": round(blur(done.model), 4),
            }
            if not rows:
                print(",".join(row))
            print(",".join(map(str, row.values())), flush=True)
            rows.append(row)
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        for split in ("val", "test"):
            lost, gained = (
                np.array([float(row[f"{split}_{a}"]) - float(row[f"{split}_{b}"]) for row in own])
                for a, b in (("fp32", "int8"), ("recovered", "int8"))
            )
            print(
                f"{method}, {split}: {gained.mean():+.2f} points "
                f"({gained.min():+.2f} to {gained.max():+.2f}) of {lost.mean():.2f} lost"
            )


if __name__ == "__main__":
    main()

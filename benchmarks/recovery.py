"""What int8 takes from a student, and what a few epochs give back: by FiGKD, by cross-entropy.

    python benchmarks/recovery.py --project . --epochs 3 --seeds 3

Takes the student, the prepared data and the logit cache of a finished run, and its params.yaml.
Every method starts from the same int8 student, with the same learning rate, batches and views; a
seed is that of the calibration images and of the batches' order. Given are validation accuracies,
of the best epoch or of the start where no epoch was better, and how far the logits' detail band is
from that of the fp32 student on the validation images (root mean square).
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
from pipeline.models.classifier import load_classifier
from pipeline.params import Recover, load_params
from pipeline.quantize.calibration import draw_calibration
from pipeline.recovery.fake_quantized import fake_quantize
from pipeline.recovery.recovering import recover
from pipeline.recovery.requirements import check_requirements, compile_kernels
from pipeline.training.judging import predict
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher

METHODS = ("figkd", "cross_entropy")


def detail(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one-level Haar detail along the class axis."""
    even = logits[:, : logits.shape[1] // 2 * 2]
    return (even[:, ::2] - even[:, 1::2]) / np.float32(np.sqrt(2))


def main() -> None:
    """Prints a line a run, and the means."""
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
    models, cpu = asked.project / "models", torch.device("cpu")
    data = open_prepared(asked.project / "data/prepared")
    train_split, val = data.split("train"), data.split("val")
    student, about = load_classifier(models / "student", cpu)
    key = cache_key(read_json(models / "teacher/model.json")["weights_sha256"], data, params.views)
    teacher = CachedTeacher(open_logit_cache(asked.project / "data/teacher_logits", key))
    exact = detail(predict(student, val, cpu))

    def blur(model: torch.nn.Module) -> float:
        return float(np.sqrt(((detail(predict(model, val, cpu)) - exact) ** 2).mean()))

    print(f"{about['architecture']}, {asked.epochs} epochs, lr {asked.lr:g}, {len(val)} images")
    print("method         seed   fp32 %   int8 %  recovered %  epoch  detail: int8  recovered")
    gains: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(asked.seeds):
        calibration = draw_calibration(train_split, params.quantize.calibration_images, seed)
        start = fake_quantize(student, calibration)
        blurred = blur(start)
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
                device=cpu,
                seed=seed,
                teacher=teacher,
            )
            done = recover(student, copy.deepcopy(start), learn, val, cpu)
            gains[method].append(100 * (done.accuracy - done.accuracy_quantized))
            print(
                f"{method:13} {seed:5} {100 * done.accuracy_before:8.2f} "
                f"{100 * done.accuracy_quantized:8.2f} {100 * done.accuracy:12.2f} {done.epoch:6} "
                f"{blurred:13.3f} {blur(done.model):10.3f}",
                flush=True,
            )
    for method, values in gains.items():
        spread = f", {min(values):+.2f} to {max(values):+.2f}" if len(values) > 1 else ""
        print(f"{method}: {np.mean(values):+.2f} points{spread}")


if __name__ == "__main__":
    main()

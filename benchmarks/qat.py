"""What int8 takes from a student, and what a few epochs give back: by FiGKD, by cross-entropy.

    python benchmarks/recovery.py --project . --epochs 3 --seeds 3

Takes the student, its post-training int8 file by ONNX Runtime (the candidate `ort-int8`), the
prepared data and the logit cache of a finished run, and its params.yaml. Every method starts from
the same fake-quantised student, with the same learning rate, batches and views; a seed is that of
the calibration images and of the batches' order. As in the stage, validation images choose the
epoch, or the start where no epoch was better; test images chose nothing. Given are the accuracies
on both, of files as ONNX Runtime runs them, and how far the logits' detail band is from that of the
fp32 student on the validation images (root mean square).
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from finch_runtime.prediction import predict
from finch_runtime.session import open_session
from numpy.typing import NDArray

from pipeline import losses
from pipeline.data.prepared import Split, open_prepared
from pipeline.files import read_json
from pipeline.logit_cache import cache_key, open_logit_cache
from pipeline.measure.accuracy import score
from pipeline.models.classifier import load_classifier
from pipeline.params import QAT, load_params
from pipeline.qat.fake_quantize import FakeQuantized, fake_quantize
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.requirements import check_requirements, compile_kernels
from pipeline.qat.training import recover
from pipeline.quantize.calibration import draw_calibration
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher

METHODS = ("figkd", "cross_entropy")
CPU = torch.device("cpu")

Logits = NDArray[np.float32]


def run(path: Path, split: Split) -> Logits:
    """The logits of an exported file."""
    return predict(open_session(path, "onnxruntime"), split.images)


def percent(logits: Logits, split: Split) -> float:
    """The accuracy in percent."""
    return round(100 * score(logits, split.labels).accuracy, 2)


def detail(logits: Logits) -> Logits:
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
    train_split = data.split("train")
    judged = {name: data.split(name) for name in ("val", "test")}
    student, about = load_classifier(models / "student", CPU)
    key = cache_key(read_json(models / "teacher/model.json")["weights_sha256"], data, params.views)
    teacher = CachedTeacher(open_logit_cache(asked.project / "data/teacher_logits", key))

    def asks(path: Path) -> dict[str, Logits]:
        return {name: run(path, split) for name, split in judged.items()}

    def written(model: FakeQuantized) -> dict[str, Logits]:
        spec = model.spec
        with TemporaryDirectory() as folder:
            path = Path(folder) / "student.onnx"
            export_qdq(
                model.native(),
                spec.mean,
                spec.std,
                spec.image_size,
                path,
                batch="dynamic",
                opset=params.export.opset,
            )
            return asks(path)

    print(
        f"{about['architecture']}, {asked.epochs} epochs, lr {asked.lr:g}, "
        f"{len(judged['val'])} validation and {len(judged['test'])} test images, "
        f"{asked.threads} threads"
    )
    rows: list[dict[str, str | int | float]] = []
    before = {
        "fp32": asks(models / "onnx/student.onnx"),
        "int8": asks(models / "candidates/ort-int8/model.onnx"),
    }
    for seed in range(asked.seeds):
        calibration = draw_calibration(train_split, params.quantize.calibration_images, seed)
        start = fake_quantize(student, calibration)
        begun = written(start)
        for method in METHODS:
            settings = QAT(epochs=asked.epochs, method=method, lr=asked.lr)
            recipe = settings.recipe(params.distill)
            learn = partial(
                train,
                objective=losses.build(recipe, len(data.classes), list(range(len(data.classes)))),
                recipe=recipe,
                train_split=train_split,
                val_split=judged["val"],
                views=params.views,
                device=CPU,
                seed=seed,
                teacher=teacher,
            )
            done = recover(student, copy.deepcopy(start), learn, judged["val"], CPU)
            answers = {**before, "start": begun, "recovered": written(done.model)}
            row: dict[str, str | int | float] = {
                "method": method,
                "seed": seed,
                "epoch": done.epoch,
            }
            for name, split in judged.items():
                for what, logits in answers.items():
                    row[f"{name}_{what}"] = percent(logits[name], split)
            for what, logits in list(answers.items())[1:]:
                blur = detail(logits["val"]) - detail(answers["fp32"]["val"])
                row[f"detail_{what}"] = round(float(np.sqrt((blur**2).mean())), 4)
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

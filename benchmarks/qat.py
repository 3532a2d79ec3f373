"""Accuracy that int8 loses, and that QAT with FiGKD or with cross-entropy regains.

    python benchmarks/qat.py --project . --epochs 3 --seeds 3

Uses the student, its post-training int8 file by ONNX Runtime (candidate `ort-int8`), the prepared
data, the logit cache and params.yaml of a finished run. Both methods start from the same fake-
quantized student, with the same learning rate, batches and views; the seed is that of the
calibration images and of the batches. As in the stage, validation images select the epoch or the
initial weights; test images select nothing. Printed are accuracies on both splits, of files run by
ONNX Runtime, and the root mean square difference between the detail bands of int8 and fp32 logits
on validation images.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from finch_runtime.session import open_session, predict
from numpy.typing import NDArray

from pipeline.data.prepared import Split, open_prepared
from pipeline.logit_cache import cache_key, open_logit_cache
from pipeline.losses import build_loss
from pipeline.measure.accuracy import score
from pipeline.models.classifier import Classifier, load_classifier
from pipeline.models.record import read_teacher
from pipeline.params import QAT, load_params
from pipeline.qat.fake_quantize import FakeQuantizedClassifier, fake_quantize
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.requirements import check_requirements, compile_kernels
from pipeline.qat.training import train_qat
from pipeline.quantize.calibration import sample_calibration
from pipeline.training.loop import TrainingResult, train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher

METHODS = ("figkd", "cross_entropy")
CPU = torch.device("cpu")

Logits = NDArray[np.float32]
Row = dict[str, str | int | float]


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


def measure(models: Mapping[str, Mapping[str, Logits]], splits: Mapping[str, Split]) -> Row:
    """Accuracy of every model on every split, and its detail's difference from that of fp32.

    Args:
        models: Logits by model and split; the first model is ``fp32``.
        splits: Splits by name.
    """
    row: Row = {
        f"{split}_{name}": percent(logits[split], splits[split])
        for split in splits
        for name, logits in models.items()
    }
    for name in list(models)[1:]:
        difference = detail(models[name]["val"]) - detail(models["fp32"]["val"])
        row[f"detail_{name}"] = round(float(np.sqrt((difference**2).mean())), 4)
    return row


def print_means(rows: list[Row]) -> None:
    """Prints the points that each method regains, over the seeds."""
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        for split in ("val", "test"):
            lost, gained = (
                np.array([float(row[f"{split}_{a}"]) - float(row[f"{split}_{b}"]) for row in own])
                for a, b in (("fp32", "int8"), ("qat", "int8"))
            )
            print(
                f"{method}, {split}: {gained.mean():+.2f} points "
                f"({gained.min():+.2f} to {gained.max():+.2f}) of {lost.mean():.2f} lost"
            )


def main() -> None:
    """Prints one comma-separated line per run, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    check_requirements()
    compile_kernels()

    params = load_params(args.project / "params.yaml")
    models = args.project / "models"
    data = open_prepared(args.project / "data/prepared")
    train_split = data.split("train")
    student, about = load_classifier(models / "student", CPU)
    splits = {name: data.split(name, student.spec.image_size) for name in ("val", "test")}
    record = read_teacher(models / "teacher", data.fingerprint)
    key = cache_key(record.sha256, data, params.views, record.image_size)
    teacher = CachedTeacher(open_logit_cache(args.project / "data/teacher_logits", key))

    def run_all(path: Path) -> dict[str, Logits]:
        return {name: run(path, split) for name, split in splits.items()}

    def export_and_run(model: FakeQuantizedClassifier) -> dict[str, Logits]:
        with TemporaryDirectory() as folder:
            path, opset = Path(folder) / "student.onnx", params.export.opset
            export_qdq(model.strip(), model.spec, path, batch="dynamic", opset=opset)
            return run_all(path)

    print(
        f"{about['architecture']}, {args.epochs} epochs, lr {args.lr:g}, "
        f"{len(splits['val'])} validation and {len(splits['test'])} test images, "
        f"{args.threads} threads"
    )
    rows: list[Row] = []
    before = {
        "fp32": run_all(models / "onnx/student.onnx"),
        "int8": run_all(models / "candidates/ort-int8/model.onnx"),
    }
    for seed in range(args.seeds):
        calibration = sample_calibration(train_split, params.quantize.calibration_images, seed)
        start = fake_quantize(student, calibration)
        initial = export_and_run(start)
        for method in METHODS:
            settings = QAT(epochs=args.epochs, method=method, lr=args.lr)
            recipe = settings.recipe(params.distill)
            loss = build_loss(recipe, len(data.classes))
            task = TrainingTask(recipe, loss, train_split, splits["val"], params.views, teacher)

            def fit(
                model: Classifier, task: TrainingTask = task, seed: int = seed
            ) -> TrainingResult:
                return train(model, task, TrainingEnvironment(CPU, seed))

            done = train_qat(student, copy.deepcopy(start), fit, splits["val"], CPU)
            logits_by_model = {**before, "initial": initial, "qat": export_and_run(done.model)}
            row: Row = {"method": method, "seed": seed, "epoch": done.best_epoch}
            row |= measure(logits_by_model, splits)
            if not rows:
                print(",".join(row))
            print(",".join(map(str, row.values())), flush=True)
            rows.append(row)
    print_means(rows)


if __name__ == "__main__":
    main()

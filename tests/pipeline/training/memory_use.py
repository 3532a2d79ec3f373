"""Measures the anonymous memory of training and of writing a logit cache, for ``test_memory``.

    python -m tests.pipeline.training.memory_use FOLDER

Runs a few training steps and a few batches of a teacher on the packed images of a folder. Prints
the maximum increase of anonymous memory since the start, in bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared import PreparedData, Split
from pipeline.data.sources import SplitName
from pipeline.errors import Stopped
from pipeline.files import open_array
from pipeline.logit_cache import CacheKey, CacheSource, write_logit_cache
from pipeline.losses import KDLoss
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import CacheLogits, Recipe, Views
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher
from tests.prepared_data import describe

SIZE, CLASSES, BATCH, STEPS, VIEWS = 96, 8, 64, 12, 2
CPU = torch.device("cpu")
KEY = CacheKey("t", "d", "v", SIZE)


def anonymous_bytes() -> int:
    """Anonymous memory of this process; 0 on systems without RssAnon."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def write_sparse(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)


class SparseData(PreparedData):
    """Packed images in sparse files, whose hashes would take long to compute."""

    def split(self, name: SplitName) -> Split:
        images = open_array(self.images_path(name))
        return Split(images, np.load(self.folder / name / "labels.npy"))


def open_sparse(folder: Path) -> SparseData:
    return SparseData(folder, describe([f"class {c}" for c in range(CLASSES)], SIZE, {}))


def prepare(folder: Path, images: int) -> None:
    """Writes packed images and cached logits as sparse files, which use no disk space.

    Their memory-mapped pages belong to the page cache and are not anonymous memory.
    """
    for name, count in {"train": images, "val": BATCH}.items():
        write_sparse(folder / name / "images.npy", "uint8", (count, SIZE, SIZE, 3))
        np.save(folder / name / "labels.npy", np.arange(count) % CLASSES)
    shape = (VIEWS, images, CLASSES)
    write_sparse(folder / "logits/logits.npy", "float16", shape)


def network(classes: tuple[str, ...]) -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )
    return Classifier(backbone, Spec("tiny", classes, SIZE, (0.5,) * 3, (0.25,) * 3))


def peak(work: Callable[[Callable[[], bool]], object]) -> int:
    """Maximum anonymous memory after each of the first ``STEPS`` steps."""
    sizes: list[int] = []

    def stop() -> bool:
        sizes.append(anonymous_bytes())
        return len(sizes) == STEPS

    try:
        work(stop)
    except Stopped:
        return max(sizes)
    raise AssertionError("finished before it was stopped")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    before = anonymous_bytes()
    data = open_sparse(folder)
    split = data.split("train")
    recipe = Recipe(epochs=2, batch_size=BATCH, lr=0.1, weight_decay=0.0)
    logits = CachedTeacher(open_array(folder / "logits/logits.npy"))
    task = TrainingTask(recipe, KDLoss(), split, data.split("val"), Views(), logits)
    training = peak(
        lambda should_stop: train(
            network(data.classes), task, TrainingEnvironment(CPU, 0, should_stop=should_stop)
        )
    )
    source = CacheSource(network(data.classes).eval(), KEY, data, Views(), CPU)
    params = CacheLogits(views=VIEWS, batch_size=BATCH, pack_views=True)
    caching = peak(
        lambda should_stop: write_logit_cache(
            folder / "new", source, params, work=folder / "work", should_stop=should_stop
        )
    )
    print(json.dumps({"training": training - before, "caching": caching - before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

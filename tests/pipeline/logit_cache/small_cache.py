"""A logit cache of a tiny teacher on a few images of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared import PreparedData
from pipeline.logit_cache import cache_key, unfinished, write_logit_cache
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import Views

CPU = torch.device("cpu")
RECIPE = Views(vertical_flip=True, saturation=0.2)
IMAGES, SIZE, CLASSES = 11, 16, ("ant", "bee", "wasp")

MANY = 200


def about(images):
    info = {"classes": list(CLASSES), "image_size": SIZE, "fingerprint": "f" * 64}
    return {**info, "splits": {"train": {"images": images}}}


def prepare(folder, images=IMAGES):
    random = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    pixels = random.integers(0, 256, (images, SIZE, SIZE, 3), dtype=np.uint8)
    np.save(folder / "train" / "images.npy", pixels)
    np.save(folder / "train" / "labels.npy", random.integers(0, len(CLASSES), images))
    return PreparedData(folder, about(images))


def teacher(scale=1.0, classes=CLASSES):
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, len(classes))
    )
    with torch.no_grad():
        backbone[-1].weight.mul_(scale)
    spec = Spec("tiny", classes, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Classifier(backbone, spec).eval()


def key_of(data):
    return cache_key("a" * 64, data, RECIPE)


def write(folder, data, model=None, key=None, **changes):
    options = {"views": 3, "dtype": "float16", "batch_size": 4, "device": CPU, **changes}
    options.setdefault("work", folder.parent / "work")
    key = key or key_of(data)
    return key, write_logit_cache(folder, model or teacher(), key, data, RECIPE, **options)


def write_in(folder: Path) -> None:
    """Writes a cache of some seconds in a folder, and a log beside it."""
    torch.set_num_threads(1)
    unfinished.NOTE_SECONDS = 0.02
    data = PreparedData(folder.parent / "prepared", about(MANY))
    with (folder / "log").open("a") as log:

        def resumed(done, total):
            log.write(f"resumed {done} {total}\n")
            log.flush()

        log.write("started\n")
        log.flush()
        write(folder / "logits", data, views=20, pack_views=True, on_resume=resumed)

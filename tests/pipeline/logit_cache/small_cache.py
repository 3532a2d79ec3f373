"""A logit cache of a tiny teacher on random images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.data.prepared import open_prepared
from pipeline.logit_cache import CacheSource, cache_key, journal, write_logit_cache
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import CacheLogits, Views
from tests.prepared_data import write_prepared

CPU = torch.device("cpu")
RECIPE = Views(vertical_flip=True, saturation=0.2)
IMAGES, SIZE, CLASSES = 11, 16, ("ant", "bee", "wasp")

MANY = 200


def prepare(folder, images=IMAGES, size=SIZE):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, len(CLASSES), images)
    return write_prepared(folder, CLASSES, {"train": (pixels, labels)})


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
    return cache_key("a" * 64, data, RECIPE, SIZE)


def source(data, model=None, key=None, precision=torch.float32, packed_size=None):
    key = key or key_of(data)
    return CacheSource(
        model or teacher(), key, data, RECIPE, CPU, precision, packed_size=packed_size
    )


PARAMS = {"views": 3, "dtype": "float16", "batch_size": 4}


def write(folder, data, model=None, key=None, precision=torch.float32, packed_size=None, **changes):
    """Writes a cache; ``changes`` are parameters or options of ``write_logit_cache``."""
    changes = {**PARAMS, "work": folder.parent / "work", **changes}
    params = {n: changes.pop(n) for n in CacheLogits.model_fields if n in changes}
    made_from = source(data, model, key, precision, packed_size)
    return made_from.key, write_logit_cache(folder, made_from, CacheLogits(**params), **changes)


def write_in(folder: Path) -> None:
    """Writes a cache, which takes some seconds, and a log to a folder."""
    torch.set_num_threads(1)
    journal.JOURNAL_SECONDS = 0.02
    data = open_prepared(folder.parent / "prepared")
    with (folder / "log").open("a") as log:

        def resumed(done, total):
            log.write(f"resumed {done} {total}\n")
            log.flush()

        log.write("started\n")
        log.flush()
        write(folder / "logits", data, views=20, pack_views=True, on_resume=resumed)

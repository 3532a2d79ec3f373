"""A training of a second or two that uses all that a checkpoint has to keep."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy, FiGKDLoss
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import FiGKD, Recipe, Views
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher

SIZE = 16
CLASSES = 4


def network(classes=CLASSES, width=8, seed=0):
    """Has statistics (batch norm), draws random numbers (dropout), and a depthwise layer."""
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )
    names = tuple(f"class {c}" for c in range(classes))
    return Classifier(backbone, Spec("small", names, SIZE, (0.5,) * 3, (0.25,) * 3))


def photographs(count, seed):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Split(images, random.integers(0, CLASSES, count))


def recipe(**changes):
    return Recipe(
        **{
            "epochs": 4,
            "batch_size": 8,
            "lr": 0.05,
            "weight_decay": 1e-3,
            "ema_decay": 0.8,
            "clip_norm": 1.0,
            **changes,
        }
    )


def train_small(checkpoints=None, model=None, images=30, **options):
    settings = options.pop("recipe", None) or recipe()
    # Draws random numbers too; but there are no cached answers for mixed images.
    objective = FiGKDLoss(FiGKD(redraw=True), CLASSES)
    if settings.mixup or settings.cutmix:
        objective = CrossEntropy()
    logits = np.random.default_rng(3).normal(size=(3, images, CLASSES)).astype(np.float16)
    return train(
        model or network(),
        objective,
        settings,
        photographs(images, seed=1),
        photographs(12, seed=2),
        Views(),
        device=torch.device("cpu"),
        seed=5,
        teacher=CachedTeacher(logits),
        checkpoints=checkpoints,
        **options,
    )


STEPS_PER_EPOCH = 13


def train_in(folder: Path) -> None:
    """Trains with the checkpoints of a folder, and leaves its result and a log beside them.

    After every step there is a line in the log, and then a checkpoint.
    """
    torch.set_num_threads(1)
    with (folder / "log").open("a") as log:

        def note(line):
            log.write(f"{line}\n")
            log.flush()

        note("started")
        trained = train_small(
            Checkpoints(folder / "checkpoints", "small", minutes=1e-9),
            images=8 * STEPS_PER_EPOCH,
            recipe=recipe(epochs=24),
            stop=lambda: note("step") or False,
            on_resume=lambda history, steps: note(
                f"resumed {len(history) * STEPS_PER_EPOCH + steps}"
            ),
        )
    weights = {name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    history = [asdict(epoch) for epoch in trained.history]
    (folder / "history.json").write_text(json.dumps(history))

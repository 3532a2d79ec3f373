"""A short training run whose state includes everything that a checkpoint contains."""

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
from pipeline.params import Recipe, Views
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher

CPU = torch.device("cpu")
SIZE = 16
CLASSES = 4


def network(classes=CLASSES, width=8, seed=0, size=SIZE):
    """A network with batch norm, dropout and a depthwise convolution."""
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
    return Classifier(backbone, Spec("small", names, size, (0.5,) * 3, (0.25,) * 3))


def random_split(count, seed, size=SIZE):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Split(images, rng.integers(0, CLASSES, count))


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


def small_task(loss, settings=None, images=30, views=None, **options):
    train_split, val_split = random_split(images, seed=1), random_split(12, seed=2)
    return TrainingTask(
        settings or recipe(), loss, train_split, val_split, views or Views(), **options
    )


def train_small(checkpoints=None, model=None, images=30, settings=None, **environment):
    settings = settings or recipe()
    # FiGKD with redraw samples random numbers. Mixing does not work with cached logits.
    loss = FiGKDLoss(CLASSES, redraw=True)
    if settings.mixup or settings.cutmix:
        loss = CrossEntropy()
    logits = np.random.default_rng(3).normal(size=(3, images, CLASSES)).astype(np.float16)
    task = small_task(loss, settings, images, teacher=CachedTeacher(logits))
    env = TrainingEnvironment(CPU, 5, checkpoints=checkpoints, **environment)
    return train(model or network(), task, env)


STEPS_PER_EPOCH = 13


def train_in(folder: Path) -> None:
    """Trains with checkpoints in a folder, to which it also writes the result and a log.

    After every step, a line is logged and then a checkpoint is saved.
    """
    torch.set_num_threads(1)
    with (folder / "log").open("a") as log:

        def write(line):
            log.write(f"{line}\n")
            log.flush()

        write("started")
        result = train_small(
            Checkpoints(folder / "checkpoints", "small", minutes=1e-9),
            images=8 * STEPS_PER_EPOCH,
            settings=recipe(epochs=24),
            should_stop=lambda: write("step") or False,
            on_resume=lambda history, steps: write(
                f"resumed {len(history) * STEPS_PER_EPOCH + steps}"
            ),
        )
    weights = {name: tensor.contiguous() for name, tensor in result.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    history = [asdict(epoch) for epoch in result.history]
    (folder / "history.json").write_text(json.dumps(history))

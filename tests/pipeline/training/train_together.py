"""Small trainings that one process or several together do; what comes out must be the same.

    torchrun --nproc-per-node 2 -m tests.pipeline.training.train_together FOLDER cpu

Each process leaves a folder with its rank as its name.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from finch_runtime.telemetry import turn_off
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from pipeline.losses import CrossEntropy, DISTLoss, FiGKDLoss, Objective
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import DIST, FiGKD, Run, Views
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import prepare_torch
from pipeline.training.distributed import Group, join
from pipeline.training.loop import Trained, train
from pipeline.training.stopping import TrainingStopped
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from tests.pipeline.training.small_training import CLASSES, SIZE, photographs, recipe

IMAGES = 31  # batches of 7 and 8, so that shares have different sizes


def network(norm: str, dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    layers = {
        "group": lambda: nn.GroupNorm(2, 8),
        "frozen": lambda: FrozenBatchNorm2d(8),
        "batch": lambda: nn.BatchNorm2d(8),
    }
    backbone = Headed(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            layers[norm](),
            nn.ReLU(),
            nn.Conv2d(8, 8, 1),
            layers[norm](),
            nn.Dropout(dropout),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    )
    names = tuple(f"class {c}" for c in range(CLASSES))
    return Classifier(backbone, Spec("small", names, SIZE, (0.5,) * 3, (0.25,) * 3))


def outspoken() -> Classifier:
    """A teacher whose answers differ from image to image."""
    teacher = network("group").eval()
    with torch.no_grad():
        teacher.backbone.head.weight.mul_(20)
    return teacher


class Headed(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(8, CLASSES)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(pixels))


def objectives() -> dict[str, Objective]:
    return {
        "cross_entropy": CrossEntropy(0.1),
        "figkd": FiGKDLoss(FiGKD(redraw=True), CLASSES),
        "dist": DISTLoss(DIST()),
    }


# Norm layer, method, changes of the recipe, options of the training.
CASES = {
    f"{norm}-{method}": (norm, method, {}, {})
    for norm in ("group", "frozen")
    for method in ("cross_entropy", "figkd", "dist")
} | {
    "accumulate": ("group", "dist", {"accumulate": 3, "ema_decay": 0.0}, {}),
    "adamw": ("group", "figkd", {"optimizer": "adamw", "lr": 0.01, "patience": 1}, {}),
    # Batch norm as well, since its statistics stay until the last two epochs.
    "head_first": ("frozen", "cross_entropy", {}, {"freeze_epochs": 2}),
    # Each process asks the teacher about its share, of which the mixed partners are in others.
    "mixed_live": (
        "group",
        "figkd",
        {"mixup": 0.4, "cutmix": 0.4, "accumulate": 2},
        {"live": True},
    ),
    "head_alone": ("batch", "cross_entropy", {}, {"freeze_epochs": 4}),
}


def train_case(name: str, group: Group, device: torch.device) -> Trained:
    norm, method, changes, options = CASES[name]
    return train_one(network(norm), objectives()[method], group, device, changes, **options)


def train_one(model, objective, group, device, changes, *, live=False, **options) -> Trained:
    logits = np.random.default_rng(3).normal(size=(3, IMAGES, CLASSES)).astype(np.float16)
    cached = CachedTeacher(logits) if objective.needs_teacher else None
    return train(
        model,
        objective,
        recipe(**{"precision": "fp32", **changes}),
        photographs(IMAGES, seed=1),
        photographs(13, seed=2),
        Views(),
        device=device,
        seed=5,
        group=group,
        teacher=LiveTeacher(outspoken().to(device)) if live else cached,
        **options,
    )


def train_batch_norm(group: Group, device: torch.device) -> Trained:
    return train_one(network("batch"), objectives()["dist"], group, device, {})


def train_stopped(folder: Path, group: Group, device: torch.device) -> None:
    """A training that only the last process is asked to stop, and then one that goes on.

    Its dropout and its batch norm's statistics must go on where they were, in every process.
    """

    def start(folder: Path, stop=lambda: False) -> Trained:
        return train_one(
            network("batch", dropout=0.3),
            objectives()["dist"],
            group,
            device,
            {},
            checkpoints=Checkpoints(folder / "checkpoints", "key", minutes=60),
            stop=stop,
        )

    keep(folder / "never_stopped", start(folder / "never_stopped"))
    left = iter(range(5))
    asked = group.process.rank == group.process.world_size - 1
    try:
        start(folder / "stopped", lambda: asked and next(left, None) is None)
    except TrainingStopped as stopped:
        (folder / "stopped.txt").write_text(stopped.moment)
    keep(folder / "stopped", start(folder / "stopped"))


def keep(folder: Path, trained: Trained) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: t.cpu().contiguous() for name, t in trained.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    history = [asdict(epoch) for epoch in trained.history]
    (folder / "history.json").write_text(json.dumps(history))


def main(folder: Path, device: torch.device) -> None:
    torch.backends.cudnn.allow_tf32 = False
    with join(device) as group:
        own = folder / str(group.process.rank)
        for name in CASES:
            keep(own / name, train_case(name, group, device))
        if device.type == "cuda":
            keep(own / "batch", train_batch_norm(group, device))
        train_stopped(own, group, device)


if __name__ == "__main__":
    turn_off()
    main(Path(sys.argv[1]), prepare_torch(Run(device=sys.argv[2], threads=1)))

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

from pipeline.errors import Stopped
from pipeline.losses import CrossEntropy, DistillationLoss, DISTLoss, FiGKDLoss
from pipeline.models.classifier import Classifier, Spec
from pipeline.params import Run, Views
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import prepare_torch
from pipeline.training.distributed import ProcessGroup, init_distributed
from pipeline.training.loop import TrainingResult, train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from tests.pipeline.training.small_training import CLASSES, SIZE, random_split, recipe

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


def teacher() -> Classifier:
    """A teacher whose logits differ from image to image."""
    model = network("group").eval()
    with torch.no_grad():
        model.backbone.head.weight.mul_(20)
    return model


class Headed(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(8, CLASSES)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(pixels))


def losss() -> dict[str, DistillationLoss]:
    return {
        "cross_entropy": CrossEntropy(label_smoothing=0.1),
        "figkd": FiGKDLoss(CLASSES, redraw=True),
        "dist": DISTLoss(),
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


def train_case(name: str, group: ProcessGroup, device: torch.device) -> TrainingResult:
    norm, method, changes, options = CASES[name]
    return train_one(network(norm), losss()[method], group, device, changes, **options)


def train_one(
    model, loss, group, device, changes, *, live=False, freeze_epochs=0, env=None
) -> TrainingResult:
    logits = np.random.default_rng(3).normal(size=(3, IMAGES, CLASSES)).astype(np.float16)
    cached = CachedTeacher(logits) if loss.needs_teacher else None
    task = TrainingTask(
        recipe(**{"precision": "fp32", **changes}),
        loss,
        random_split(IMAGES, seed=1),
        random_split(13, seed=2),
        Views(),
        teacher=LiveTeacher(teacher().to(device)) if live else cached,
        freeze_epochs=freeze_epochs,
    )
    return train(model, task, TrainingEnvironment(device, 5, group, **(env or {})))


def train_batch_norm(group: ProcessGroup, device: torch.device) -> TrainingResult:
    return train_one(network("batch"), losss()["dist"], group, device, {})


def train_stopped(folder: Path, group: ProcessGroup, device: torch.device) -> None:
    """A training that only the last process is requested to stop, and then one that resumes.

    Its dropout and its batch norm's statistics must go on where they were, in every process.
    """

    def start(folder: Path, should_stop=lambda: False) -> TrainingResult:
        return train_one(
            network("batch", dropout=0.3),
            losss()["dist"],
            group,
            device,
            {},
            env={
                "checkpoints": Checkpoints(folder / "checkpoints", "key", minutes=60),
                "should_stop": should_stop,
            },
        )

    keep(folder / "never_stopped", start(folder / "never_stopped"))
    left = iter(range(5))
    is_last = group.process.rank == group.process.world_size - 1
    try:
        start(folder / "stopped", lambda: is_last and next(left, None) is None)
    except Stopped as stopped:
        (folder / "stopped.txt").write_text(stopped.kept)
    keep(folder / "stopped", start(folder / "stopped"))


def keep(folder: Path, result: TrainingResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: t.cpu().contiguous() for name, t in result.model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    history = [asdict(epoch) for epoch in result.history]
    (folder / "history.json").write_text(json.dumps(history))


def main(folder: Path, device: torch.device) -> None:
    torch.backends.cudnn.allow_tf32 = False
    with init_distributed(device) as group:
        own = folder / str(group.process.rank)
        for name in CASES:
            keep(own / name, train_case(name, group, device))
        if device.type == "cuda":
            keep(own / "batch", train_batch_norm(group, device))
        train_stopped(own, group, device)


if __name__ == "__main__":
    turn_off()
    main(Path(sys.argv[1]), prepare_torch(Run(device=sys.argv[2], threads=1)))

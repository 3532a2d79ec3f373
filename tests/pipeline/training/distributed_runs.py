"""Small training runs for one or several processes, whose results must be equal.

    torchrun --nproc-per-node 2 -m tests.pipeline.training.distributed_runs FOLDER cpu

Each process writes to a folder named after its rank.
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
from pipeline.training.unlabelled import UnlabelledImages
from tests.pipeline.training.small_training import CLASSES, SIZE, random_split, recipe

IMAGES = 31  # batches of 7 and 8, so that shards have different sizes


def network(norm: str, dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    layers = {
        "group": lambda: nn.GroupNorm(2, 8),
        "frozen": lambda: FrozenBatchNorm2d(8),
        "batch": lambda: nn.BatchNorm2d(8),
    }
    backbone = WithClassifier(
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
    """A teacher whose logits differ between images."""
    model = network("group").eval()
    with torch.no_grad():
        model.backbone.head.weight.mul_(20)
    return model


class WithClassifier(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(8, CLASSES)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(pixels))


def losses() -> dict[str, DistillationLoss]:
    return {
        "cross_entropy": CrossEntropy(label_smoothing=0.1),
        "figkd": FiGKDLoss(CLASSES, redraw=True),
        "dist": DISTLoss(),
    }


# Norm layer, method, changes of the recipe, options of ``train_one``.
CASES = {
    f"{norm}-{method}": (norm, method, {}, {})
    for norm in ("group", "frozen")
    for method in ("cross_entropy", "figkd", "dist")
} | {
    "accumulate": ("group", "dist", {"accumulate": 3, "ema_decay": 0.0}, {}),
    "adamw": ("group", "figkd", {"optimizer": "adamw", "lr": 0.01, "patience": 1}, {}),
    "head_first": ("frozen", "cross_entropy", {"freeze_epochs": 2}, {}),
    "rare_classes": ("group", "figkd", {"logit_adjustment": 1, "sampling": "square_root"}, {}),
    # The partners of a shard's images are in other shards.
    "mixed_live": (
        "group",
        "figkd",
        {"mixup": 0.4, "cutmix": 0.4, "accumulate": 2},
        {"live": True},
    ),
    "unlabelled": ("group", "dist", {"accumulate": 2}, {"unlabelled": 10}),
    "unlabelled_mixed": ("group", "figkd", {"mixup": 0.4}, {"unlabelled": 10, "live": True}),
    "head_alone": ("batch", "cross_entropy", {"freeze_epochs": 4}, {}),
}


def train_case(name: str, group: ProcessGroup, device: torch.device) -> TrainingResult:
    norm, method, changes, options = CASES[name]
    return train_one(network(norm), losses()[method], group, device, changes, **options)


def train_one(
    model, loss, group, device, changes, *, live=False, unlabelled=0, env=None
) -> TrainingResult:
    shape = (3, IMAGES + unlabelled, CLASSES)
    logits = np.random.default_rng(3).normal(size=shape).astype(np.float16)
    added = random_split(unlabelled, seed=4).images
    cached = CachedTeacher(logits) if loss.needs_teacher else None
    task = TrainingTask(
        recipe(**{"precision": "fp32", **changes}),
        loss,
        random_split(IMAGES, seed=1),
        random_split(13, seed=2),
        Views(),
        teacher=LiveTeacher(teacher().to(device)) if live else cached,
        unlabelled=UnlabelledImages(added, np.arange(unlabelled), 0.8) if unlabelled else None,
    )
    return train(model, task, TrainingEnvironment(device, 5, group, **(env or {})))


def train_batch_norm(group: ProcessGroup, device: torch.device) -> TrainingResult:
    return train_one(network("batch"), losses()["dist"], group, device, {})


def train_stopped(folder: Path, group: ProcessGroup, device: torch.device) -> None:
    """Stops a run by a request to the last process only, and resumes it.

    The states of dropout and of batch norm must be restored in every process.
    """

    def start(folder: Path, should_stop=lambda: False) -> TrainingResult:
        return train_one(
            network("batch", dropout=0.3),
            losses()["dist"],
            group,
            device,
            {},
            env={
                "checkpoints": Checkpoints(folder / "checkpoints", "key", minutes=60),
                "should_stop": should_stop,
            },
        )

    save_result(folder / "never_stopped", start(folder / "never_stopped"))
    left = iter(range(5))
    is_last = group.process.rank == group.process.world_size - 1
    try:
        start(folder / "stopped", lambda: is_last and next(left, None) is None)
    except Stopped as stopped:
        (folder / "stopped.txt").write_text(stopped.kept)
    save_result(folder / "stopped", start(folder / "stopped"))


def save_result(folder: Path, result: TrainingResult) -> None:
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
            save_result(own / name, train_case(name, group, device))
        if device.type == "cuda":
            save_result(own / "batch", train_batch_norm(group, device))
        train_stopped(own, group, device)


if __name__ == "__main__":
    turn_off()
    main(Path(sys.argv[1]), prepare_torch(Run(device=sys.argv[2], threads=1)))

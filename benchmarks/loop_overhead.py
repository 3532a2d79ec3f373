"""Overhead of the training loop: its step relative to a plain PyTorch step of the same network.

    python benchmarks/loop_overhead.py [EPOCHS]

mobilenetv2_050 at 96 px, batch 64, one thread; views are packed, so augmentation is excluded. The
plain step is forward, cross-entropy, backward and optimizer on a fixed batch. One follows each step
of the loop; times are CPU times. The end of an epoch (checkpoint, copy of the best weights,
validation on one image) is printed separately, since its fraction depends on the steps per epoch.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy
from pipeline.models.classifier import build_classifier
from pipeline.params import Recipe, Views
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import train
from pipeline.training.optimizer import build_optimizer
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher

SIZE, BATCH, STEPS, CLASSES = 96, 64, 8, 8


def main(epochs: int) -> None:
    """Prints the median times, and the median ratio of a loop step to the plain step after it."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH * STEPS, SIZE, SIZE, 3), dtype=np.uint8)
    split = Split(images, rng.integers(0, CLASSES, len(images)))
    recipe = Recipe(epochs=epochs, batch_size=BATCH, lr=0.01, weight_decay=1e-4)
    names = tuple(map(str, range(CLASSES)))

    model = build_classifier("mobilenetv2_050", names, SIZE)
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = build_optimizer(model, recipe)
    pixels = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(split.labels[:BATCH])
    start = 0.0
    loop: list[float] = []
    plain: list[float] = []

    def after_a_step() -> bool:
        nonlocal start
        now = time.process_time()
        loop.append(now - start)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(pixels), labels).backward()
        optimizer.step()
        start = time.process_time()
        plain.append(start - now)
        return False

    teacher = CachedTeacher(np.zeros((1, len(images), CLASSES), np.float16), images[None])
    val = split.select(np.arange(1))
    task = TrainingTask(recipe, CrossEntropy(), split, val, Views(), teacher)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", "key", minutes=5)
        env = TrainingEnvironment(
            torch.device("cpu"), seed=0, checkpoints=checkpoints, should_stop=after_a_step
        )
        train(build_classifier("mobilenetv2_050", names, SIZE), task, env)
    pairs = list(zip(loop, plain, strict=True))
    within = [pair for index, pair in enumerate(pairs) if index % STEPS]  # not after an epoch
    ratio = statistics.median(ours / theirs for ours, theirs in within)
    step = statistics.median(ours for ours, _ in within)
    end = statistics.median(loop[STEPS::STEPS]) - step
    print(f"plain step {1e3 * statistics.median(plain):.1f} ms, loop step {1e3 * step:.1f} ms")
    print(f"median ratio of {len(within)} pairs {ratio:.3f}; end of an epoch {1e3 * end:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

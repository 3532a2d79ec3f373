"""What the training loop itself costs: its step beside the bare step of the same network.

    python benchmarks/loop_overhead.py [EPOCHS]

mobilenetv2_050 at 96 px, batch 64, one thread; the views are packed, so that augmentation is apart.
The bare step is forward, cross-entropy, backward and optimiser on pixels that are there. One
follows on each step of the loop, so that both see the same machine; times are processor time. What
the end of an epoch adds (a checkpoint, the copy of the best weights, one image to judge) is told on
its own, since its share depends on the steps of an epoch.
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
from pipeline.training.teacher import CachedTeacher

SIZE, BATCH, STEPS, CLASSES = 96, 64, 8, 8


def main(epochs: int) -> None:
    """Prints the median times, and the median ratio of a loop's step to the bare one after it."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH * STEPS, SIZE, SIZE, 3), dtype=np.uint8)
    split = Split(images, random.integers(0, CLASSES, len(images)))
    recipe = Recipe(epochs=epochs, batch_size=BATCH, lr=0.01, weight_decay=1e-4)
    names = tuple(map(str, range(CLASSES)))

    model = build_classifier("mobilenetv2_050", names, SIZE)
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = build_optimizer(model, recipe)
    pixels = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(split.labels[:BATCH])
    began = 0.0
    loop: list[float] = []
    bare: list[float] = []

    def after_a_step() -> bool:
        nonlocal began
        now = time.process_time()
        loop.append(now - began)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(pixels), labels).backward()
        optimizer.step()
        began = time.process_time()
        bare.append(began - now)
        return False

    with tempfile.TemporaryDirectory() as folder:
        train(
            build_classifier("mobilenetv2_050", names, SIZE),
            CrossEntropy(),
            recipe,
            split,
            split.only(np.arange(1)),
            Views(),
            device=torch.device("cpu"),
            seed=0,
            teacher=CachedTeacher(np.zeros((1, len(images), CLASSES), np.float16), images[None]),
            checkpoints=Checkpoints(Path(folder) / "checkpoints", "key", minutes=5),
            stop=after_a_step,
        )
    pairs = list(zip(loop, bare, strict=True))
    within = [(ours, theirs) for place, (ours, theirs) in enumerate(pairs) if place % STEPS]
    ratio = statistics.median(ours / theirs for ours, theirs in within)
    step = statistics.median(ours for ours, _ in within)
    end = statistics.median(loop[STEPS::STEPS]) - step
    print(f"bare step {1e3 * statistics.median(bare):.1f} ms, the loop's {1e3 * step:.1f} ms")
    print(
        f"median ratio of {len(within)} pairs {ratio:.3f}; an epoch's end adds {1e3 * end:.0f} ms"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

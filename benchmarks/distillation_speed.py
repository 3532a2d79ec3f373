"""Throughput of distillation, relative to training without a teacher and with a live teacher.

    python benchmarks/distillation_speed.py [ROUNDS] [THREADS]

The default pair, tf_efficientnet_lite0 and mobilenetv2_035 at 96 px, batch 32, FiGKD on 8 classes,
on random pixels. All variants use the same views, made during training. They run in one process,
one step each per round in random order, so a ratio compares two steps of one round. Printed are
medians and interquartile ranges, and the throughput of making the views, which is part of each
step. The overhead of the loop around a step is measured by loop_overhead.py.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time

import cpuinfo
import numpy as np
import torch

from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy, DistillationLoss, build_loss
from pipeline.models.classifier import build_classifier
from pipeline.params import Distill, Views
from pipeline.training.optimizer import build_optimizer
from pipeline.training.state import TrainingState
from pipeline.training.step import TrainingStep
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher, Teacher
from pipeline.views import make_views

SIZE, CLASSES, BATCH, WARM = 96, 8, 32, 5
NAMES = tuple(map(str, range(CLASSES)))
CPU = torch.device("cpu")


def training_step(
    recipe: Distill, split: Split, loss: DistillationLoss, teacher: Teacher | None
) -> TrainingStep:
    """The training step of a student with random weights."""
    student = build_classifier(recipe.model, NAMES, SIZE)
    student.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(student, loss, build_optimizer(student, recipe), None, scaler, CPU)
    task = TrainingTask(recipe, loss, split, split, Views(), teacher)
    env = TrainingEnvironment(CPU, seed=0)
    return TrainingStep(state, student, task, env, torch.float32, len(split))


def summarize(values: list[float]) -> str:
    """Median and interquartile range."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main(rounds: int, threads: int) -> None:
    """Prints throughputs and the two ratios."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    recipe = Distill(epochs=1, batch_size=BATCH, lr=0.01, weight_decay=1e-4)
    split = Split(
        rng.integers(0, 256, (16 * BATCH, SIZE, SIZE, 3), dtype=np.uint8),
        rng.integers(0, CLASSES, 16 * BATCH),
    )
    teacher = build_classifier("tf_efficientnet_lite0", NAMES, SIZE)
    teacher.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    logits = rng.normal(size=(1, len(split), CLASSES)).astype(np.float16)
    figkd = build_loss(recipe, CLASSES)
    steps = {
        "cross-entropy": training_step(recipe, split, CrossEntropy(), None),
        "cached teacher": training_step(recipe, split, figkd, CachedTeacher(logits)),
        "live teacher": training_step(recipe, split, figkd, LiveTeacher(teacher)),
    }
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw')}, {os.cpu_count()} cores, {threads} threads, "
        f"torch {torch.__version__}; {rounds} rounds; load average {os.getloadavg()[0]:.1f}"
    )
    times: dict[str, list[float]] = {name: [] for name in (*steps, "views")}
    order = list(times)
    random.seed(0)
    for step in range(WARM + rounds):
        batch = np.sort(np.random.default_rng(step).permutation(len(split))[:BATCH])
        random.shuffle(order)
        for name in order:
            began = time.perf_counter()
            if name in steps:
                steps[name].run(batch)
            else:
                make_views(split.images[batch], batch, 0, Views(), CPU)
            times[name].append(time.perf_counter() - began)
    times = {name: seconds[WARM:] for name, seconds in times.items()}
    for name, seconds in times.items():
        print(f"{name:15} {BATCH / statistics.median(seconds):6.0f} images/s")
    for other in ("cross-entropy", "live teacher"):
        ratios = [a / b for a, b in zip(times[other], times["cached teacher"], strict=True)]
        print(f"speedup of the cached teacher over {other}: {summarize(ratios)}")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 100,
        int(sys.argv[2]) if len(sys.argv) > 2 else 2,
    )

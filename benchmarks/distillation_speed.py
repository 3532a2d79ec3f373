"""Images a second: distillation beside plain training, and beside a live teacher.

    python benchmarks/distillation_speed.py [ROUNDS] [THREADS]

The default pair, tf_efficientnet_lite0 and mobilenetv2_035 at 96 px, batch 32, FiGKD on 8 classes,
on drawn pixels; every contender on the same views, which are made as training goes. All three learn
in one process, a step each in turn, in rounds of shuffled order, so that they see the same machine:
a ratio is that of two steps of one round. Given are medians, and the middle half. What making the
views takes is told beside it: it is part of all three. What the loop adds around a step is
loop_overhead.py's.
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

from pipeline import losses
from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy, Objective
from pipeline.models.classifier import build_classifier
from pipeline.params import Distill, Views
from pipeline.training.distributed import Group
from pipeline.training.optimizer import build_optimizer
from pipeline.training.state import State
from pipeline.training.step import TrainingStep
from pipeline.training.teacher import CachedTeacher, LiveTeacher, Teacher
from pipeline.views import make_views

SIZE, CLASSES, BATCH, WARM = 96, 8, 32, 5
NAMES = tuple(map(str, range(CLASSES)))
CPU = torch.device("cpu")


def lesson(
    recipe: Distill, split: Split, objective: Objective, teacher: Teacher | None
) -> TrainingStep:
    """A student from scratch, ready for its first step."""
    student = build_classifier(recipe.model, NAMES, SIZE)
    student.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = State(student, objective, build_optimizer(student, recipe), None, scaler, CPU)
    return TrainingStep(
        state, student, Group(), 0, recipe, torch.float32, split, Views(), teacher, len(split)
    )


def shown(values: list[float]) -> str:
    """Median (middle half)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main(rounds: int, threads: int) -> None:
    """Prints images a second and the two ratios."""
    torch.set_num_threads(threads)
    chance = np.random.default_rng(0)
    recipe = Distill(epochs=1, batch_size=BATCH, lr=0.01, weight_decay=1e-4)
    split = Split(
        chance.integers(0, 256, (16 * BATCH, SIZE, SIZE, 3), dtype=np.uint8),
        chance.integers(0, CLASSES, 16 * BATCH),
    )
    teacher = build_classifier("tf_efficientnet_lite0", NAMES, SIZE)
    teacher.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    answers = chance.normal(size=(1, len(split), CLASSES)).astype(np.float16)
    figkd = losses.build(recipe, CLASSES, range(CLASSES))
    lessons = {
        "cross-entropy": lesson(recipe, split, CrossEntropy(), None),
        "cached teacher": lesson(recipe, split, figkd, CachedTeacher(answers)),
        "live teacher": lesson(recipe, split, figkd, LiveTeacher(teacher)),
    }
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw')}, {os.cpu_count()} cores, {threads} threads, "
        f"torch {torch.__version__}; {rounds} rounds; load {os.getloadavg()[0]:.1f} at the start"
    )
    times: dict[str, list[float]] = {name: [] for name in (*lessons, "views alone")}
    order = list(times)
    random.seed(0)
    for step in range(WARM + rounds):
        batch = np.sort(np.random.default_rng(step).permutation(len(split))[:BATCH])
        random.shuffle(order)
        for name in order:
            began = time.perf_counter()
            if name in lessons:
                lessons[name].take(batch)
            else:
                make_views(split.images[batch], batch, 0, Views(), CPU)
            times[name].append(time.perf_counter() - began)
    times = {name: seconds[WARM:] for name, seconds in times.items()}
    for name, seconds in times.items():
        print(f"{name:15} {BATCH / statistics.median(seconds):6.0f} images/s")
    for rival in ("cross-entropy", "live teacher"):
        ratios = [a / b for a, b in zip(times[rival], times["cached teacher"], strict=True)]
        print(f"speed of the cached teacher over {rival}: {shown(ratios)}")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 100,
        int(sys.argv[2]) if len(sys.argv) > 2 else 2,
    )

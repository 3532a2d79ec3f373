"""Images a second: distillation beside plain training, and beside a live teacher.

    python benchmarks/distillation_speed.py [ROUNDS]

The default pair, tf_efficientnet_lite0 and mobilenetv2_035 at 96 px, batch 32, as many threads as
there are cores, FiGKD on 8 classes, on drawn pixels. In every round each contender trains some
steps of one epoch on the same views, in an order that is shuffled; the first steps are not timed. A
ratio is that of two times of one round, so that a drift of the machine cancels; given are medians
and the range. What making the views takes is told beside it: it is part of all three.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable

import cpuinfo
import numpy as np
import torch

from pipeline import losses
from pipeline.data.prepared import Split
from pipeline.losses import CrossEntropy, Objective
from pipeline.models.classifier import build_classifier
from pipeline.params import Distill, Views
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher, LiveTeacher, Teacher
from pipeline.views import make_views

SIZE, CLASSES, STEPS, WARM = 96, 8, 12, 3
CPU = torch.device("cpu")


def seconds_a_step(
    recipe: Distill, split: Split, objective: Objective, teacher: Teacher | None
) -> float:
    """The median over the timed steps of one epoch."""
    names = tuple(map(str, range(CLASSES)))
    student = build_classifier(recipe.model, names, SIZE)
    ends: list[float] = []

    def after_a_step() -> bool:
        ends.append(time.perf_counter())
        return False

    train(
        student,
        objective,
        recipe,
        split,
        split.only(np.arange(1)),
        Views(),
        device=CPU,
        seed=0,
        teacher=teacher,
        stop=after_a_step,
    )
    return statistics.median(np.diff(ends)[WARM:])


def shown(values: list[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main(rounds: int) -> None:
    """Prints images a second and the two ratios."""
    pixels = np.random.default_rng(0)
    recipe = Distill(epochs=1, batch_size=32, lr=0.01, weight_decay=1e-4)
    count = STEPS * recipe.batch_size
    split = Split(
        pixels.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8),
        pixels.integers(0, CLASSES, count),
    )
    names = tuple(map(str, range(CLASSES)))
    teacher = build_classifier("tf_efficientnet_lite0", names, SIZE)
    teacher.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    figkd = losses.build(recipe, CLASSES, range(CLASSES))
    cached = CachedTeacher(pixels.normal(size=(1, count, CLASSES)).astype(np.float16))
    contenders: dict[str, Callable[[], float]] = {
        "cross-entropy": lambda: seconds_a_step(recipe, split, CrossEntropy(), None),
        "cached teacher": lambda: seconds_a_step(recipe, split, figkd, cached),
        "live teacher": lambda: seconds_a_step(recipe, split, figkd, LiveTeacher(teacher)),
    }
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw')}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; {rounds} rounds; "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    random.seed(0)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(contenders[name]())
    for name, values in times.items():
        print(f"{name:15} {recipe.batch_size / statistics.median(values):6.0f} images/s")
    batch = np.arange(recipe.batch_size)
    made = []
    for view in range(20):
        began = time.perf_counter()
        make_views(split.images[batch], batch, view, Views(), CPU)
        made.append(time.perf_counter() - began)
    print(f"{'views alone':15} {recipe.batch_size / statistics.median(made):6.0f} images/s")
    for rival in ("cross-entropy", "live teacher"):
        ratios = [a / b for a, b in zip(times[rival], times["cached teacher"], strict=True)]
        print(f"speed of the cached teacher over {rival}: {shown(ratios)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)

"""Images a second: distillation beside plain training, and beside a live teacher.

    python benchmarks/distillation_speed.py [ROUNDS] [THREADS]

The default pair, tf_efficientnet_lite0 and mobilenetv2_035 at 96 px, batch 32, FiGKD on 8 classes,
on drawn pixels; every contender on the same views, which are made as training goes. Each trains in
a process of its own, a few steps in turn, in rounds of shuffled order, so that they see the same
machine: a ratio is that of the medians of two turns of one round. Given are medians, and the middle
half. What making the views takes is told beside it: it is part of all three.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import sys
import time
from multiprocessing.connection import Connection

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

SIZE, CLASSES, BATCH = 96, 8, 32
WARM, TURN = 2, 5  # rounds that do not count; steps of a turn, of which the first does not
CONTENDERS = ["cross-entropy", "cached teacher", "live teacher"]


def drawn(count: int) -> Split:
    """Images and labels that are noise."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return Split(images, chance.integers(0, CLASSES, count))


def compete(name: str, steps: int, threads: int, turn: Connection) -> None:
    """Trains one epoch in a process of its own: a step whenever it is told to, and its seconds."""
    torch.set_num_threads(threads)
    recipe = Distill(epochs=1, batch_size=BATCH, lr=0.01, weight_decay=1e-4)
    split = drawn(steps * BATCH)
    classes = tuple(map(str, range(CLASSES)))
    objective: Objective = losses.build(recipe, CLASSES, range(CLASSES))
    teacher: Teacher | None = None
    if name == "live teacher":
        network = build_classifier("tf_efficientnet_lite0", classes, SIZE)
        teacher = LiveTeacher(network.to(memory_format=torch.channels_last).eval())  # type: ignore[call-overload]
    elif name == "cached teacher":
        answers = np.random.default_rng(1).normal(size=(1, len(split), CLASSES))
        teacher = CachedTeacher(answers.astype(np.float16))
    else:
        objective = CrossEntropy()
    began = 0.0

    def after_a_step() -> bool:
        nonlocal began
        turn.send(time.perf_counter() - began)
        turn.recv()
        began = time.perf_counter()
        return False

    turn.recv()
    train(
        build_classifier(recipe.model, classes, SIZE),
        objective,
        recipe,
        split,
        split.only(np.arange(1)),
        Views(),
        device=torch.device("cpu"),
        seed=0,
        teacher=teacher,
        stop=after_a_step,
    )


def shown(values: list[float]) -> str:
    """Median (middle half)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main(rounds: int, threads: int) -> None:
    """Prints images a second and the two ratios."""
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw')}, {os.cpu_count()} cores, {threads} threads, "
        f"torch {torch.__version__}; {rounds} rounds; load {os.getloadavg()[0]:.1f} at the start"
    )
    start = multiprocessing.get_context("spawn")
    turns: dict[str, Connection] = {}
    workers = []
    for name in CONTENDERS:
        turns[name], theirs = start.Pipe()
        arguments = (name, (WARM + rounds) * TURN, threads, theirs)
        workers.append(start.Process(target=compete, args=arguments))
        workers[-1].start()
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    chance = random.Random(0)
    for _ in range(WARM + rounds):
        for name in chance.sample(CONTENDERS, len(CONTENDERS)):
            steps = []
            for _ in range(TURN):
                turns[name].send(None)
                steps.append(turns[name].recv())
            times[name].append(statistics.median(steps[1:]))
    for worker in workers:
        worker.terminate()
    times = {name: seconds[WARM:] for name, seconds in times.items()}
    for name, seconds in times.items():
        print(f"{name:15} {BATCH / statistics.median(seconds):6.0f} images/s")
    torch.set_num_threads(threads)
    split, made = drawn(BATCH), []
    for view in range(20):
        began = time.perf_counter()
        make_views(split.images, np.arange(BATCH), view, Views(), torch.device("cpu"))
        made.append(time.perf_counter() - began)
    print(f"{'views alone':15} {BATCH / statistics.median(made):6.0f} images/s")
    for rival in ("cross-entropy", "live teacher"):
        ratios = [a / b for a, b in zip(times[rival], times["cached teacher"], strict=True)]
        print(f"speed of the cached teacher over {rival}: {shown(ratios)}")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 20,
        int(sys.argv[2]) if len(sys.argv) > 2 else 2,
    )

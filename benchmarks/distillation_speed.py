"""Throughput of distillation, relative to training without a teacher and with a live teacher.

    python benchmarks/distillation_speed.py [ROUNDS] [THREADS] [--pair TEACHER STUDENT]
        [--size 96] [--classes 8] [--batch 32] [--bf16] [--compile] [--mdistiller FOLDER]

FiGKD on random pixels, in fp32; with `--bf16` and `--compile` also in these forms. All variants use
the same views, made during training. They run in one process, one step each per round in random
order, so a ratio compares two steps of one round. Printed are medians and interquartile ranges, and
the throughput of making the views, which is part of each step. The overhead of the loop around a
step is measured by loop_overhead.py.

`FOLDER` is a checkout of mdistiller (https://github.com/megvii-research/mdistiller), whose KD step
of the same networks is then measured beside, for example with `--pair cifar_resnet32x4
cifar_resnet8x4 --size 32 --classes 100 --batch 64`. It gets a batch of pixels that is already in
memory: what its data loader does is not part of its step.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cpuinfo
import numpy as np
import torch
from numpy.typing import NDArray
from pairs import Pair
from torch import nn

from pipeline.losses import CrossEntropy, DistillationLoss
from pipeline.params import Views
from pipeline.training.optimizer import build_optimizer
from pipeline.training.state import TrainingState
from pipeline.training.step import TrainingStep
from pipeline.training.task import TrainingEnvironment
from pipeline.training.teacher import Teacher
from pipeline.views import make_views

WARM = 5
CPU = torch.device("cpu")

Step = Callable[[NDArray[np.int64]], object]
"""Trains on the images with these numbers, sorted."""


def training_step(
    pair: Pair,
    loss: DistillationLoss,
    teacher: Teacher | None,
    precision: torch.dtype = torch.float32,
    *,
    compiled: bool = False,
) -> Step:
    """The training step of a student with random weights."""
    recipe, student = pair.recipe(lr=0.01), pair.network(pair.student, CPU).train()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(student, loss, build_optimizer(student, recipe), None, scaler, CPU)
    task, env = pair.task(recipe, loss, teacher), TrainingEnvironment(CPU, seed=0)
    network = cast("nn.Module", torch.compile(student)) if compiled else student
    return TrainingStep(state, network, task, env, precision, len(pair.split)).run


def cached_steps(pair: Pair, forms: dict[str, tuple[torch.dtype, bool]]) -> dict[str, Step]:
    """FiGKD with cached logits, by form: the precision, and whether the network is compiled."""
    loss = pair.figkd()
    return {
        name: training_step(pair, loss, pair.cached(), precision, compiled=compiled)
        for name, (precision, compiled) in forms.items()
    }


def mdistiller_step(pair: Pair, checkout: Path) -> Step:
    """The KD step of mdistiller, with the hyperparameters of its CIFAR-100 configurations."""
    sys.path.insert(0, str(checkout))
    networks = importlib.import_module("mdistiller.models").cifar_model_dict
    teacher, student = (
        networks[name.removeprefix("cifar_")][0](num_classes=pair.classes)
        for name in (pair.teacher, pair.student)
    )
    weights = SimpleNamespace(CE_WEIGHT=0.1, KD_WEIGHT=0.9)
    config = SimpleNamespace(KD=SimpleNamespace(TEMPERATURE=4, LOSS=weights))
    distiller = importlib.import_module("mdistiller.distillers").KD(student, teacher, config)
    distiller.train()
    optimizer = torch.optim.SGD(
        distiller.get_learnable_parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    images = torch.from_numpy(pair.split.images[: pair.batch]).permute(0, 3, 1, 2)
    pixels = images.float().div(255).contiguous()
    labels = torch.from_numpy(pair.split.labels[: pair.batch])

    def step(batch: NDArray[np.int64]) -> float:
        optimizer.zero_grad()
        _, losses = distiller(image=pixels, target=labels, epoch=1)
        loss = sum(value.mean() for value in losses.values())
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def summarize(values: list[float]) -> str:
    """Median and interquartile range."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def time_in_turn(steps: dict[str, Step], pair: Pair, rounds: int) -> dict[str, list[float]]:
    """Seconds of every step, by name, one per round."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    random.seed(0)
    for step in range(WARM + rounds):
        batch = np.sort(np.random.default_rng(step).permutation(len(pair.split))[: pair.batch])
        random.shuffle(order)
        for name in order:
            began = time.perf_counter()
            steps[name](batch)
            times[name].append(time.perf_counter() - began)
    return {name: seconds[WARM:] for name, seconds in times.items()}


def main() -> None:
    """Prints throughputs and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rounds", type=int, nargs="?", default=100)
    parser.add_argument("threads", type=int, nargs="?", default=2)
    default = ["tf_efficientnet_lite0", "mobilenetv2_035"]
    parser.add_argument("--pair", nargs=2, metavar=("TEACHER", "STUDENT"), default=default)
    parser.add_argument("--size", type=int, default=96, help="pixels per side")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--bf16", action="store_true", help="also in bf16")
    parser.add_argument("--compile", action="store_true", help="also compiled")
    parser.add_argument("--mdistiller", type=Path, metavar="FOLDER", help="a checkout of it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    teacher, student = options.pair
    pair = Pair(teacher, student, options.size, options.classes, options.batch)
    forms = {"cached teacher": (torch.float32, False)}
    if options.compile:
        forms["cached teacher, compiled"] = (torch.float32, True)
    if options.bf16:
        forms |= {f"{name}, bf16": (torch.bfloat16, form[1]) for name, form in forms.items()}
    others = {
        "cross-entropy": training_step(pair, CrossEntropy(), None),
        "live teacher": training_step(pair, pair.figkd(), pair.live(CPU)),
    }
    if options.mdistiller:
        others["mdistiller's KD"] = mdistiller_step(pair, options.mdistiller)
    steps = cached_steps(pair, forms) | others
    steps["views"] = lambda batch: make_views(pair.split.images[batch], batch, 0, Views(), CPU)
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw')}, {os.cpu_count()} cores, {options.threads} "
        f"threads, torch {torch.__version__}; {pair.name}; {options.rounds} rounds; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    times = time_in_turn(steps, pair, options.rounds)
    for name, seconds in times.items():
        print(f"{name:30} {pair.batch / statistics.median(seconds):6.0f} images/s")
    for ours, other in itertools.product(forms, others):
        ratios = [a / b for a, b in zip(times[other], times[ours], strict=True)]
        print(f"speedup of {ours} over {other}: {summarize(ratios)}")


if __name__ == "__main__":
    main()

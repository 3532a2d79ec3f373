"""What a step of the FiGKD loss costs beside KD, and beside the same loss written with ptwt.

    python benchmarks/loss_cost.py --threads 2

Forward and backward, haar, one level, mse, single precision. `figkd` is the detail alone, `figkd
and kd` the default. In every round each contender runs a few times, in shuffled order; a ratio is
that of two times of one round, so that a drift of the machine cancels. Given are medians over the
rounds, with the 10th and 90th percentile. ptwt (in the `dev` extra) transforms student and teacher,
as the formula reads, or their difference, as Finch does. With a random order of the classes it
indexes the logits first.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Literal

import cpuinfo
import ptwt
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses import FiGKDLoss, KDLoss
from pipeline.losses.distillation import Distillation
from pipeline.losses.objective import Loss, Objective
from pipeline.params import KD, FiGKD

SHAPES = [(64, 100), (256, 200), (256, 1000)]


class WithPtwt(Distillation):
    """FiGKD's detail with ptwt's transform in the place of Finch's.

    Args:
        transformed: What ptwt transforms.
        order: int64 [classes], or None for the classes' own.
    """

    def __init__(self, transformed: Literal["both", "difference"], order: Tensor | None) -> None:
        super().__init__(FiGKD(kd_share=0.0))
        self.transformed = transformed
        self.order = order
        self.wavelet = pywt.Wavelet("haar")

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        if self.transformed == "both":
            distance = F.mse_loss(self._detail(student), self._detail(teacher))
        else:
            distance = self._detail(student - teacher).square().mean()
        return Loss(distance, {"detail": distance.detach()})

    def _detail(self, logits: Tensor) -> Tensor:
        ordered = logits if self.order is None else logits[:, self.order]
        return ptwt.wavedec(ordered, self.wavelet, mode="symmetric", level=1)[1]


def step(objective: Objective, student: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    """One forward and backward pass: the gradient at the student's logits."""
    inputs = student.clone().requires_grad_()
    objective(inputs, labels, teacher, 0.0).total.backward()
    assert inputs.grad is not None
    return inputs.grad


def measure(runs: dict[str, Callable[[], Tensor]], rounds: int, calls: int) -> dict[str, list]:
    """Milliseconds a call of each contender, round by round."""
    for run in runs.values():
        for _ in range(10):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            started = time.perf_counter()
            for _ in range(calls):
                runs[name]()
            times[name].append((time.perf_counter() - started) / calls * 1e3)
    return times


def spread(values: list[float]) -> str:
    """Median (10th to 90th percentile)."""
    tenths = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):6.3f} ({tenths[0]:.3f} to {tenths[-1]:.3f})"


def main() -> None:
    """Prints a table for every shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=5, help="of each contender in a round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw', platform.machine())}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads; Python {platform.python_version()}, torch "
        f"{torch.__version__}, PyWavelets {version('pywavelets')}, ptwt {version('ptwt')}; "
        f"{options.rounds} rounds of {options.calls}; load {os.getloadavg()[0]:.1f} at the start"
    )
    for batch, classes in SHAPES:
        student, teacher = torch.randn(2, batch, classes)
        labels = torch.randint(classes, (batch,))
        for order_name in ("index", "random"):
            order = torch.randperm(classes) if order_name == "random" else None
            places = None if order is None else order.tolist()
            objectives: dict[str, Objective] = {
                "figkd": FiGKDLoss(FiGKD(kd_share=0.0), classes, places),
                "figkd and kd": FiGKDLoss(FiGKD(), classes, places),
                "kd": KDLoss(KD()),
                "ptwt, both": WithPtwt("both", order),
                "ptwt, difference": WithPtwt("difference", order),
            }
            expected = step(objectives["figkd"], student, labels, teacher)
            for name in ("ptwt, both", "ptwt, difference"):
                found = step(objectives[name], student, labels, teacher)
                torch.testing.assert_close(found, expected, msg=f"{name} is another loss")
            runs = {
                name: partial(step, objective, student, labels, teacher)
                for name, objective in objectives.items()
            }
            times = measure(runs, options.rounds, options.calls)
            print(f"\nbatch {batch}, {classes} classes, {order_name} order")
            print(f"  {'':18}{'ms':28}figkd's time over it")
            for name, values in times.items():
                ratios = [a / b for a, b in zip(times["figkd"], values, strict=True)]
                print(f"  {name:18}{spread(values):28}{spread(ratios) if name != 'figkd' else ''}")


if __name__ == "__main__":
    main()

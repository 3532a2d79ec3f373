"""Cost of the FiGKD loss in a training step, relative to KD and to the loss written with ptwt.

    python benchmarks/loss_cost.py --threads 2

First, forward and backward of each loss alone, in float32. `figkd` is the default loss, `figkd,
detail only` has no KD term, and `ptwt` computes the same detail with ptwt's transform (in the
extra `dev`), which gathers the logits first when the class order is random. Then the default loss
as a fraction of a training step (forward, loss, backward, SGD) of the smallest preset students.

In every round the contenders run in shuffled order, and a ratio is that of two times of the same
round, so that drift of the machine cancels. Printed are medians over the rounds, with the 10th and
90th percentile.
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

import cpuinfo
import ptwt
import pywt
import torch
from torch import Tensor, nn

from pipeline.losses import DistillationLoss, FiGKDLoss, KDLoss
from pipeline.models.zoo import create_network

SHAPES = [(64, 100), (256, 200), (256, 1000), (64, 1024), (64, 20_000)]
STUDENTS = ["cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_resnet20", "cifar_resnet8x4"]


class PtwtLoss(DistillationLoss):
    """The detail term of FiGKD with ptwt's transform.

    Args:
        order: int64 [classes], or None for the order of the data set.
    """

    def __init__(self, order: Tensor | None) -> None:
        super().__init__()
        self.order = order
        self.wavelet = pywt.Wavelet("haar")

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The mean squared difference of the detail, ``detail``."""
        difference = student - teacher
        if self.order is not None:
            difference = difference[:, self.order]
        detail = ptwt.wavedec(difference, self.wavelet, mode="symmetric", level=1)[1]
        return {"detail": 0.15 * detail.square().mean()}


def gradient(loss: DistillationLoss, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Forward and backward pass of a loss."""
    inputs = student.clone().requires_grad_()
    loss(inputs, teacher, labels).backward()
    assert inputs.grad is not None
    return inputs.grad


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: DistillationLoss,
    images: Tensor,
    teacher: Tensor,
    labels: Tensor,
) -> None:
    """One training step."""
    optimizer.zero_grad()
    loss(model(images), teacher, labels).backward()
    optimizer.step()


def measure(runs: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list]:
    """Milliseconds per call of each contender, by round."""
    for run in runs.values():
        for _ in range(3):
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
    return f"{statistics.median(values):8.4f} ({tenths[0]:.4f} to {tenths[-1]:.4f})"


def compare_losses(batch: int, classes: int, order_name: str, rounds: int, calls: int) -> None:
    """Prints the times of the losses for one shape and class order."""
    student, teacher = torch.randn(2, batch, classes)
    labels = torch.randint(classes, (batch,))
    order = torch.randperm(classes) if order_name == "random" else None
    class_order = None if order is None else order.tolist()
    losses: dict[str, DistillationLoss] = {
        "figkd": FiGKDLoss(classes, class_order=class_order),
        "figkd, detail only": FiGKDLoss(classes, class_order=class_order, kd_weight=0.0),
        "kd": KDLoss(),
        "ptwt": PtwtLoss(order),
    }
    torch.testing.assert_close(
        gradient(losses["ptwt"], student, teacher, labels),
        gradient(losses["figkd, detail only"], student, teacher, labels),
    )
    runs = {n: partial(gradient, loss, student, teacher, labels) for n, loss in losses.items()}
    times = measure(runs, rounds, calls)
    print(f"\nbatch {batch}, {classes} classes, {order_name} order")
    print(f"  {'':20}{'ms':32}ratio to kd")
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values, times["kd"], strict=True)]
        print(f"  {name:20}{spread(values):32}{spread(ratios)}")


def compare_steps(name: str, rounds: int) -> None:
    """Prints the loss as a fraction of a training step at batch 64, 32 px and 100 classes."""
    model = create_network(name, 100, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    student, teacher = torch.randn(2, 64, 100)
    labels, loss = torch.randint(100, (64,)), FiGKDLoss(100)
    batch = (torch.rand(64, 3, 32, 32), teacher, labels)
    runs: dict[str, Callable[[], object]] = {
        "step": partial(train_step, model, optimizer, loss, *batch),
        "loss": partial(gradient, loss, student, teacher, labels),
    }
    times = measure(runs, rounds, 1)
    fractions = [100 * a / b for a, b in zip(times["loss"], times["step"], strict=True)]
    print(f"  {name:22}step {spread(times['step'])} ms, loss {spread(fractions)} %")


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=5, help="calls per contender and round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw', platform.machine())}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads; Python {platform.python_version()}, torch "
        f"{torch.__version__}, PyWavelets {version('pywavelets')}, ptwt {version('ptwt')}; "
        f"{options.rounds} rounds of {options.calls}; load {os.getloadavg()[0]:.1f}"
    )
    print("\ntraining steps at batch 64, 100 classes")
    for name in STUDENTS:
        compare_steps(name, min(options.rounds, 20))
    for batch, classes in SHAPES:
        for order_name in ("index", "random"):
            compare_losses(batch, classes, order_name, options.rounds, options.calls)


if __name__ == "__main__":
    main()

"""Images, and a student that loses accuracy in int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.prepared import Split
from pipeline.models.classifier import Classifier, Spec

CPU = torch.device("cpu")
SIZE, CLASSES = 16, 6


def random_split(count: int, seed: int) -> Split:
    """Noise with a label for each pair of a strong and a weaker color channel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 150, (count, SIZE, SIZE, 3), dtype=np.uint8)
    rows = np.arange(count)
    images[rows, :, :, labels % 3] += 70
    images[rows, :, :, (labels + 1 + labels // 3) % 3] += 35
    return Split(images, labels)


class Residual(nn.Module):
    """An inverted residual block, whose input is used twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, 3 * width, 1, bias=False),
            nn.BatchNorm2d(3 * width),
            nn.Hardswish(),
            nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False),
            nn.BatchNorm2d(3 * width),
            nn.Hardswish(),
            nn.Conv2d(3 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = features + self.layers(features)
        return added


def student(seed: int) -> Classifier:
    """A network with random statistics and one channel that is 100 times as large as the others.

    A per-tensor scale represents the other channels with one or two quantization steps.
    """
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.Hardswish(),
        Residual(12),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        norm: Any = backbone[1]
        norm.weight[0] *= 100
        backbone[6].weight *= 4
        backbone[6].weight[:, 0] /= 100
    names = tuple(f"class {c}" for c in range(CLASSES))
    return Classifier(backbone, Spec("small", names, SIZE, (0.4,) * 3, (0.2,) * 3)).eval()


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compiles NNCF's kernels; takes one or two minutes, once per machine."""
    from pipeline.errors import QATError
    from pipeline.qat.requirements import check_requirements, compile_kernels

    try:
        check_requirements()
    except QATError as error:
        pytest.skip(str(error))
    compile_kernels()
    torch.set_num_threads(1)

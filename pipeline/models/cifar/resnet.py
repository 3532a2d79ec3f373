"""Residual networks for 32 px images (He et al., arXiv 1512.03385, section 4.2).

Shortcuts that change the shape are convolutions of one pixel with batch normalization, as the
distillation literature has them, where the paper pads with zeros. ``x4`` has four times the
channels, but a stem of 32. ``resnet50`` is the ImageNet network with a stem of three pixels and
stride 1, and without the first pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, normalised

Branch = Callable[[int, int, int], nn.Sequential]
"""The residual branch from (channels in, width, stride)."""


class Residual(nn.Module):
    """ReLU of a branch plus a shortcut."""

    def __init__(self, branch: nn.Sequential, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        same = stride == 1 and inside == outside
        self.shortcut = (
            nn.Identity() if same else normalised(inside, outside, 1, stride=stride, relu=False)
        )
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """[n, inside, rows, columns] to [n, outside, rows / stride, columns / stride]."""
        return cast(Tensor, self.relu(self.branch(images) + self.shortcut(images)))


def _basic(inside: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        normalised(inside, width, 3, stride=stride), normalised(width, width, 3, relu=False)
    )


def _bottleneck(inside: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        normalised(inside, width, 1),
        normalised(width, width, 3, stride=stride),
        normalised(width, 4 * width, 1, relu=False),
    )


def _network(
    stem: int, groups: list[tuple[int, int]], branch: Branch, expansion: int, num_classes: int
) -> CifarNetwork:
    """Groups of (width, blocks); every group but the first halves the plane."""
    features, inside = nn.Sequential(normalised(3, stem, 3)), stem
    for number, (width, blocks) in enumerate(groups):
        for block in range(blocks):
            stride = 2 if number and not block else 1
            outside = expansion * width
            features.append(Residual(branch(inside, width, stride), inside, outside, stride))
            inside = outside
    return CifarNetwork(features, inside, num_classes)


def resnet(depth: int, num_classes: int, *, wide: bool = False) -> CifarNetwork:
    """The network of ``depth`` = 6n + 2 layers; ``wide`` is the ``x4`` of the literature."""
    stem, widths = (32, (64, 128, 256)) if wide else (16, (16, 32, 64))
    return _network(stem, [(width, (depth - 2) // 6) for width in widths], _basic, 1, num_classes)


def resnet50(num_classes: int) -> CifarNetwork:
    """ResNet-50 on small images."""
    groups = [(64, 3), (128, 4), (256, 6), (512, 3)]
    return _network(64, groups, _bottleneck, 4, num_classes)

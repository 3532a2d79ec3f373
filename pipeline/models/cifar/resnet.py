"""Residual and wide residual networks for 32 x 32 pixel images.

ResNet (He et al., arXiv 1512.03385, section 4.2), with 1 x 1 convolutions for shortcuts that change
the shape, as in the distillation literature. ``x4`` has four times the channels after a stem of 32.
``resnet50`` is the ImageNet network with a 3 x 3 stem of stride 1 and without max pooling. Wide
ResNet (Zagoruyko and Komodakis, arXiv 1605.07146) is without dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, conv, conv_bn

Branch = Callable[[int, int, int], nn.Sequential]
"""Makes a residual branch from (input channels, width, stride)."""


class Residual(nn.Module):
    """ReLU of a branch plus a shortcut."""

    def __init__(
        self, branch: nn.Sequential, in_channels: int, out_channels: int, stride: int
    ) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else conv_bn(in_channels, out_channels, 1, stride=stride, relu=False)
        )
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """[n, in_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        return cast(Tensor, self.relu(self.branch(images) + self.shortcut(images)))


class PreActivation(nn.Module):
    """Batch normalization and ReLU, then a branch plus a shortcut.

    A shortcut that changes the shape starts after the ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.branch = nn.Sequential(
            conv_bn(in_channels, out_channels, 3, stride=stride),
            conv(out_channels, out_channels, 3),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else conv(in_channels, out_channels, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        """[n, in_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        active = self.activation(images)
        shortcut = images if self.shortcut is None else self.shortcut(active)
        return cast(Tensor, self.branch(active) + shortcut)


def _basic(in_channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(in_channels, width, 3, stride=stride), conv_bn(width, width, 3, relu=False)
    )


def _bottleneck(in_channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(in_channels, width, 1),
        conv_bn(width, width, 3, stride=stride),
        conv_bn(width, 4 * width, 1, relu=False),
    )


def _network(
    stem: int, groups: list[tuple[int, int]], branch: Branch, expansion: int, num_classes: int
) -> CifarNetwork:
    """Groups of (width, blocks); every group but the first halves height and width."""
    features, channels = nn.Sequential(conv_bn(3, stem, 3)), stem
    for number, (width, blocks) in enumerate(groups):
        for block in range(blocks):
            stride, out = 2 if number and not block else 1, expansion * width
            features.append(Residual(branch(channels, width, stride), channels, out, stride))
            channels = out
    return CifarNetwork(features, channels, num_classes)


def resnet(depth: int, num_classes: int, *, wide: bool = False) -> CifarNetwork:
    """The network of ``depth`` = 6n + 2 layers; ``wide`` is ``x4``."""
    stem, widths = (32, (64, 128, 256)) if wide else (16, (16, 32, 64))
    return _network(stem, [(width, (depth - 2) // 6) for width in widths], _basic, 1, num_classes)


def resnet50(num_classes: int) -> CifarNetwork:
    """ResNet-50 for small images."""
    groups = [(64, 3), (128, 4), (256, 6), (512, 3)]
    return _network(64, groups, _bottleneck, 4, num_classes)


def wide_resnet(depth: int, widening: int, num_classes: int) -> CifarNetwork:
    """WRN-depth-widening, of ``depth`` = 6n + 4 layers."""
    features, channels = nn.Sequential(conv(3, 16, 3)), 16
    for number, width in enumerate((16, 32, 64)):
        for block in range((depth - 4) // 6):
            stride = 2 if number and not block else 1
            features.append(PreActivation(channels, widening * width, stride))
            channels = widening * width
    features.extend([nn.BatchNorm2d(channels), nn.ReLU()])
    network = CifarNetwork(features, channels, num_classes)
    nn.init.zeros_(network.classifier.bias)
    return network

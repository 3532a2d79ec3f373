"""Residual and wide residual networks for 32 x 32 pixel images.

ResNet (He et al., arXiv 1512.03385, section 4.2), with 1 x 1 convolutions for shortcuts that change
the shape, as in the distillation literature. ``x4`` has four times the channels, and a stem of 32.
``resnet50`` is the ImageNet network with a 3 x 3 stem of stride 1 and without max pooling. Wide
ResNet (Zagoruyko and Komodakis, arXiv 1605.07146) is without dropout.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, append_stages, conv, conv_bn


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


def _basic(in_channels: int, out_channels: int, stride: int) -> Residual:
    branch = nn.Sequential(
        conv_bn(in_channels, out_channels, 3, stride=stride),
        conv_bn(out_channels, out_channels, 3, relu=False),
    )
    return Residual(branch, in_channels, out_channels, stride)


def _bottleneck(in_channels: int, out_channels: int, stride: int) -> Residual:
    width = out_channels // 4
    branch = nn.Sequential(
        conv_bn(in_channels, width, 1),
        conv_bn(width, width, 3, stride=stride),
        conv_bn(width, out_channels, 1, relu=False),
    )
    return Residual(branch, in_channels, out_channels, stride)


def resnet(depth: int, num_classes: int, *, wide: bool = False) -> CifarNetwork:
    """ResNet with ``depth`` = 6n + 2 layers; ``wide`` selects the variant ``x4``."""
    stem, widening = (32, 4) if wide else (16, 1)
    features = nn.Sequential(conv_bn(3, stem, 3))
    channels = append_stages(features, stem, _stages(widening, (depth - 2) // 6), _basic)
    return CifarNetwork(features, channels, num_classes)


def resnet50(num_classes: int) -> CifarNetwork:
    """ResNet-50 for small images."""
    features = nn.Sequential(conv_bn(3, 64, 3))
    stages = [(256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2)]
    channels = append_stages(features, 64, stages, _bottleneck)
    return CifarNetwork(features, channels, num_classes)


def wide_resnet(depth: int, widening: int, num_classes: int) -> CifarNetwork:
    """WRN-``depth``-``widening``, with ``depth`` = 6n + 4 layers."""
    features = nn.Sequential(conv(3, 16, 3))
    stages = _stages(widening, (depth - 4) // 6)
    channels = append_stages(features, 16, stages, PreActivation)
    features.extend([nn.BatchNorm2d(channels), nn.ReLU()])
    network = CifarNetwork(features, channels, num_classes)
    nn.init.zeros_(network.classifier.bias)
    return network


def _stages(widening: int, blocks: int) -> list[tuple[int, int, int]]:
    return [(16 * widening, blocks, 1), (32 * widening, blocks, 2), (64 * widening, blocks, 2)]

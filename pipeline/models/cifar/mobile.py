"""MobileNetV2 and ShuffleNet V1 and V2 for 32 x 32 pixel images, as in the distillation literature.

MobileNetV2 (Sandler et al., arXiv 1801.04381) has width 0.5, ReLU instead of ReLU6, an expansion
convolution also in the first block, and one stride of 2 less than for ImageNet. The ShuffleNets
(arXiv 1707.01083 and 1807.11164) have a 1 x 1 stem without pooling, 3 groups in V1, width 1 in V2,
and torch's default initial weights.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, append_stages, conv_bn

_MOBILENET_STAGES = ((12, 2, 1), (16, 3, 2), (32, 4, 2), (48, 3, 1), (80, 3, 2), (160, 1, 1))
_SHUFFLENET_STEM = 24


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut if the shape allows it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * in_channels
        self.branch = nn.Sequential(
            conv_bn(in_channels, width, 1),
            conv_bn(width, width, 3, stride=stride, groups=width),
            conv_bn(width, out_channels, 1, relu=False),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, images: Tensor) -> Tensor:
        """[n, in_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        branch = cast(Tensor, self.branch(images))
        return images + branch if self.has_shortcut else branch


def mobilenet_v2(num_classes: int) -> CifarNetwork:
    """MobileNetV2 of width 0.5, with 1,280 features."""
    features = nn.Sequential(conv_bn(3, 16, 3, stride=2), InvertedResidual(16, 8, 1, expansion=1))
    block = partial(InvertedResidual, expansion=6)
    channels = append_stages(features, 8, _MOBILENET_STAGES, block)
    features.append(conv_bn(channels, 1280, 1))
    return CifarNetwork(features, 1280, num_classes, head_std=0.01)


class ChannelShuffle(nn.Module):
    """Interleaves the channels of ``groups`` groups."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, h, w], with the channels in another order."""
        return torch.unflatten(images, 1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class UnitV1(nn.Module):
    """Grouped, depthwise and grouped convolution, added to the input or concatenated with it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        branch_channels = out_channels - in_channels if stride == 2 else out_channels
        width = branch_channels // 4
        # The stem has too few channels for groups.
        first_groups = 1 if in_channels == _SHUFFLENET_STEM else groups
        self.branch = nn.Sequential(
            conv_bn(in_channels, width, 1, groups=first_groups),
            ChannelShuffle(first_groups),
            # ReLU as in the distillation literature; the paper has none here.
            conv_bn(width, width, 3, stride=stride, groups=width),
            conv_bn(width, branch_channels, 1, groups=groups, relu=False),
        )
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """[n, in_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        branch = self.branch(images)
        if self.shortcut is None:
            return cast(Tensor, self.relu(branch + images))
        return cast(Tensor, self.relu(torch.cat([branch, self.shortcut(images)], dim=1)))


class UnitV2(nn.Module):
    """At stride 1, half of the channels bypass the branch; at stride 2, all enter both branches."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = out_channels // 2
        branch_input = in_channels if stride == 2 else width
        self.shortcut = None
        if stride == 2:
            self.shortcut = nn.Sequential(
                conv_bn(in_channels, in_channels, 3, stride=2, groups=in_channels, relu=False),
                conv_bn(in_channels, width, 1),
            )
        self.branch = nn.Sequential(
            conv_bn(branch_input, width, 1),
            conv_bn(width, width, 3, stride=stride, groups=width, relu=False),
            conv_bn(width, width, 1),
        )
        self.shuffle = ChannelShuffle(2)

    def forward(self, images: Tensor) -> Tensor:
        """[n, in_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        if self.shortcut is None:
            shortcut, branch_input = images.chunk(2, dim=1)
        else:
            shortcut, branch_input = self.shortcut(images), images
        return cast(Tensor, self.shuffle(torch.cat([shortcut, self.branch(branch_input)], dim=1)))


def shufflenet_v1(num_classes: int) -> CifarNetwork:
    """ShuffleNet V1 with 3 groups."""
    features = nn.Sequential(conv_bn(3, _SHUFFLENET_STEM, 1))
    stages = [(240, 4, 2), (480, 8, 2), (960, 4, 2)]
    channels = append_stages(features, _SHUFFLENET_STEM, stages, partial(UnitV1, groups=3))
    return CifarNetwork(features, channels, num_classes, kaiming=False)


def shufflenet_v2(num_classes: int) -> CifarNetwork:
    """ShuffleNet V2 of width 1, with 1,024 features."""
    features = nn.Sequential(conv_bn(3, _SHUFFLENET_STEM, 1))
    stages = [(116, 4, 2), (232, 8, 2), (464, 4, 2)]
    channels = append_stages(features, _SHUFFLENET_STEM, stages, UnitV2)
    features.append(conv_bn(channels, 1024, 1))
    return CifarNetwork(features, 1024, num_classes, kaiming=False)

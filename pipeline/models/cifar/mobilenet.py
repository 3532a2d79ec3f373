"""MobileNetV2 (Sandler et al., arXiv 1801.04381) for 32 x 32 pixel images.

As in the distillation literature: width 0.5, ReLU instead of ReLU6, an expansion convolution also
in the first block, and one stride less than for ImageNet.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, conv_bn

_GROUPS = (  # expansion, channels, blocks, stride of the first block
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)


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
    features, channels = nn.Sequential(conv_bn(3, 16, 3, stride=2)), 16
    for expansion, width, blocks, stride in _GROUPS:
        for block in range(blocks):
            features.append(InvertedResidual(channels, width, 1 if block else stride, expansion))
            channels = width
    features.append(conv_bn(channels, 1280, 1))
    return CifarNetwork(features, 1280, num_classes, head_std=0.01)

"""MobileNetV2 (Sandler et al., arXiv 1801.04381) at half width, for 32 px images.

As the distillation literature has it: ReLU instead of ReLU6, an expansion in the first block too,
though by 1, and one of the strides for ImageNet less.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, normalised

_GROUPS = (  # expansion, channels, blocks, stride of the first
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)


class Inverted(nn.Module):
    """Expansion, a convolution of each channel, projection; a shortcut where the shape stays."""

    def __init__(self, inside: int, outside: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * inside
        self.branch = nn.Sequential(
            normalised(inside, width, 1),
            normalised(width, width, 3, stride=stride, groups=width),
            normalised(width, outside, 1, relu=False),
        )
        self.same = stride == 1 and inside == outside

    def forward(self, images: Tensor) -> Tensor:
        """[n, inside, rows, columns] to [n, outside, rows / stride, columns / stride]."""
        branch = cast(Tensor, self.branch(images))
        return images + branch if self.same else branch


def mobilenet_v2(num_classes: int) -> CifarNetwork:
    """MobileNetV2 of width 0.5, with 1,280 features."""
    features, inside = nn.Sequential(normalised(3, 16, 3, stride=2)), 16
    for expansion, outside, blocks, stride in _GROUPS:
        for block in range(blocks):
            features.append(Inverted(inside, outside, 1 if block else stride, expansion))
            inside = outside
    features.append(normalised(inside, 1280, 1))
    return CifarNetwork(features, 1280, num_classes, head_std=0.01)

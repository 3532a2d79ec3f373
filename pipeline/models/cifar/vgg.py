"""VGG (Simonyan and Zisserman, arXiv 1409.1556) with batch normalization and one linear layer.

Three poolings, so that a side of 32 px ends as 4, over which the mean is taken.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.cifar.network import CifarNetwork

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {  # per width
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def vgg(depth: int, num_classes: int) -> CifarNetwork:
    """VGG of 8, 11, 13, 16 or 19 layers, counted as in the paper: with three linear ones."""
    features, inside = nn.Sequential(), 3
    for number, (width, count) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True)):
        if 1 <= number <= 3:
            features.append(nn.MaxPool2d(2))
        for _ in range(count):
            features.extend(
                [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            )
            inside = width
    return CifarNetwork(features, inside, num_classes, head_std=0.01)

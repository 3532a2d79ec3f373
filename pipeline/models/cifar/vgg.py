"""VGG (Simonyan and Zisserman, arXiv 1409.1556) with batch normalization and one linear layer."""

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
    """VGG-8, 11, 13, 16 or 19 (the paper counts three linear layers), with three max poolings."""
    features, channels = nn.Sequential(), 3
    for number, (width, count) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True)):
        if 1 <= number <= 3:
            features.append(nn.MaxPool2d(2))
        for _ in range(count):
            features.extend(
                [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            )
            channels = width
    return CifarNetwork(features, channels, num_classes, head_std=0.01)

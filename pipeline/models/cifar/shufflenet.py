"""ShuffleNetV1 and V2 (arXiv 1707.01083 and 1807.11164) for 32 px images.

The stem is a convolution of one pixel, without pooling; V1 has 3 groups, V2 is the one of
width 1. Weights start as torch draws them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, normalised

_STEM = 24


class Shuffle(nn.Module):
    """Deals the channels of ``groups`` groups round, one of each group after the other."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, rows, columns], the channels in another order."""
        return torch.unflatten(images, 1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class GroupedUnit(nn.Module):
    """The unit of V1: grouped, of each channel, grouped; added to its input or put beside it."""

    def __init__(self, inside: int, outside: int, stride: int, groups: int) -> None:
        super().__init__()
        added = outside - inside if stride == 2 else outside
        width = added // 4
        first = 1 if inside == _STEM else groups  # so few channels are not parted
        self.branch = nn.Sequential(
            normalised(inside, width, 1, groups=first),
            Shuffle(first),
            # The paper has no ReLU after this one, the literature's network has.
            normalised(width, width, 3, stride=stride, groups=width),
            normalised(width, added, 1, groups=groups, relu=False),
        )
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """[n, inside, rows, columns] to [n, outside, rows / stride, columns / stride]."""
        branch = self.branch(images)
        if self.shortcut is None:
            return cast(Tensor, self.relu(branch + images))
        return cast(Tensor, self.relu(torch.cat([branch, self.shortcut(images)], dim=1)))


class SplitUnit(nn.Module):
    """The unit of V2: half of the channels pass by; at stride 2 all take two ways."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        width = outside // 2
        entering = inside if stride == 2 else width
        self.shortcut = None
        if stride == 2:
            self.shortcut = nn.Sequential(
                normalised(inside, inside, 3, stride=2, groups=inside, relu=False),
                normalised(inside, width, 1),
            )
        self.branch = nn.Sequential(
            normalised(entering, width, 1),
            normalised(width, width, 3, stride=stride, groups=width, relu=False),
            normalised(width, width, 1),
        )
        self.shuffle = Shuffle(2)

    def forward(self, images: Tensor) -> Tensor:
        """[n, inside, rows, columns] to [n, outside, rows / stride, columns / stride]."""
        if self.shortcut is None:
            past, entering = images.chunk(2, dim=1)
        else:
            past, entering = self.shortcut(images), images
        return cast(Tensor, self.shuffle(torch.cat([past, self.branch(entering)], dim=1)))


def shufflenet_v1(num_classes: int) -> CifarNetwork:
    """ShuffleNetV1 with 3 groups."""
    features, inside = nn.Sequential(normalised(3, _STEM, 1)), _STEM
    for outside, units in ((240, 4), (480, 8), (960, 4)):
        for unit in range(units):
            features.append(GroupedUnit(inside, outside, 1 if unit else 2, groups=3))
            inside = outside
    return CifarNetwork(features, inside, num_classes, initialised=False)


def shufflenet_v2(num_classes: int) -> CifarNetwork:
    """ShuffleNetV2 of width 1, with 1,024 features."""
    features, inside = nn.Sequential(normalised(3, _STEM, 1)), _STEM
    for outside, units in ((116, 4), (232, 8), (464, 4)):
        for unit in range(units):
            features.append(SplitUnit(inside, outside, 1 if unit else 2))
            inside = outside
    features.append(normalised(inside, 1024, 1))
    return CifarNetwork(features, 1024, num_classes, initialised=False)

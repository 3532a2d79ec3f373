"""Wide residual networks (Zagoruyko and Komodakis, arXiv 1605.07146), without dropout."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipeline.models.cifar.network import CifarNetwork, convolution, normalised


class PreActivated(nn.Module):
    """Normalised and activated, then a branch; a shortcut that changes the shape follows these."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU())
        self.branch = nn.Sequential(
            normalised(inside, outside, 3, stride=stride), convolution(outside, outside, 3)
        )
        same = stride == 1 and inside == outside
        self.shortcut = None if same else convolution(inside, outside, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        """[n, inside, rows, columns] to [n, outside, rows / stride, columns / stride]."""
        active = self.activation(images)
        past = images if self.shortcut is None else self.shortcut(active)
        return cast(Tensor, self.branch(active) + past)


def wide_resnet(depth: int, widening: int, num_classes: int) -> CifarNetwork:
    """WRN-depth-widening, of ``depth`` = 6n + 4 layers."""
    features, inside = nn.Sequential(convolution(3, 16, 3)), 16
    for number, width in enumerate((16, 32, 64)):
        for block in range((depth - 4) // 6):
            stride = 2 if number and not block else 1
            features.append(PreActivated(inside, widening * width, stride))
            inside = widening * width
    features.extend([nn.BatchNorm2d(inside), nn.ReLU()])
    network = CifarNetwork(features, inside, num_classes)
    nn.init.zeros_(network.classifier.bias)
    return network

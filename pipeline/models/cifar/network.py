"""Base class and blocks of the networks for 32 x 32 pixel images, and VGG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from torch import Tensor, nn

_MEAN, _STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of CIFAR-100

_VGG_CONVOLUTIONS = {  # with 64, 128, 256, 512 and 512 channels
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class CifarNetwork(nn.Module):
    """Features, global average pooling and a linear classifier.

    Args:
        features: Maps images to [n, num_features, height, width].
        num_features: Output channels of ``features``.
        num_classes: Number of classes.
        kaiming: Initialize convolutions with ``kaiming_normal_`` (fan-out), not torch's default.
        head_std: Standard deviation of the classifier's initial weights; None is torch's default.

    Attributes:
        pretrained_cfg: Normalization and name of the classifier layer, with timm's keys.
    """

    def __init__(
        self,
        features: nn.Sequential,
        num_features: int,
        num_classes: int,
        *,
        kaiming: bool = True,
        head_std: float | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(num_features, num_classes)
        self.pretrained_cfg = {"mean": _MEAN, "std": _STD, "classifier": "classifier"}
        for layer in features.modules() if kaiming else ():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if head_std is not None:
            nn.init.normal_(self.classifier.weight, std=head_std)
            nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images float32 [n, 3, height, width] to logits [n, classes]."""
        return cast(Tensor, self.classifier(self.features(images).mean((2, 3))))

    def get_classifier(self) -> nn.Linear:
        """The classifier layer, as in timm."""
        return self.classifier


def conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias, with "same" padding at stride 1."""
    padding = kernel // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution, batch normalization and optionally ReLU."""
    layers = [
        conv(in_channels, out_channels, kernel, stride=stride, groups=groups),
        nn.BatchNorm2d(out_channels),
    ]
    return nn.Sequential(*layers, *[nn.ReLU()] * relu)


def append_stages(
    features: nn.Sequential,
    channels: int,
    stages: Iterable[tuple[int, int, int]],
    block: Callable[[int, int, int], nn.Module],
) -> int:
    """Appends stages of blocks to a network with ``channels`` output channels.

    A stage is (output channels, number of blocks, stride of the first block). ``block`` takes
    (input channels, output channels, stride). Returns the output channels of the last block.
    """
    for out_channels, blocks, stride in stages:
        for index in range(blocks):
            features.append(block(channels, out_channels, 1 if index else stride))
            channels = out_channels
    return channels


def vgg(depth: int, num_classes: int) -> CifarNetwork:
    """VGG (Simonyan and Zisserman, arXiv 1409.1556) with batch normalization and one linear layer.

    ``depth`` counts three linear layers, as in the paper: 8, 11, 13, 16 or 19.
    """
    features, channels = nn.Sequential(), 3
    widths = (64, 128, 256, 512, 512)
    for number, (width, count) in enumerate(zip(widths, _VGG_CONVOLUTIONS[depth], strict=True)):
        if 1 <= number <= 3:
            features.append(nn.MaxPool2d(2))
        for _ in range(count):
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            features.extend([convolution, nn.BatchNorm2d(width), nn.ReLU()])
            channels = width
    return CifarNetwork(features, channels, num_classes, head_std=0.01)

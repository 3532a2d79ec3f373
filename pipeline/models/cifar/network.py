"""What the networks for 32 px images have in common: features, a mean over the plane, a head."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
CIFAR100_STD = (0.2675, 0.2565, 0.2761)


class CifarNetwork(nn.Module):
    """Takes normalised images float32 [n, 3, height, width] and returns logits [n, classes].

    Attributes:
        pretrained_cfg: Normalization and the head's name, under timm's keys.
    """

    def __init__(
        self,
        features: nn.Sequential,
        width: int,
        num_classes: int,
        *,
        initialised: bool = True,
        head_std: float | None = None,
    ) -> None:
        """Puts a head on features.

        Args:
            features: Images to [n, width, rows, columns].
            width: Channels that the features end with.
            num_classes: Logits.
            initialised: Draw the convolutions' weights as He et al. do, by fan-out; otherwise they
                stay as torch draws them.
            head_std: Standard deviation of the head's weights, without biases; torch's own if None.
        """
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(width, num_classes)
        self.pretrained_cfg = {
            "mean": CIFAR100_MEAN,
            "std": CIFAR100_STD,
            "classifier": "classifier",
        }
        for layer in features.modules() if initialised else ():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if head_std is not None:
            nn.init.normal_(self.classifier.weight, std=head_std)
            nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Classifies normalised images."""
        return cast(Tensor, self.classifier(self.features(images).mean((2, 3))))

    def get_classifier(self) -> nn.Linear:
        """The head, by the name that timm's networks give it."""
        return self.classifier


def convolution(
    inside: int, outside: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias, padded so that stride 1 keeps the size of the plane."""
    return nn.Conv2d(
        inside, outside, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )


def normalised(
    inside: int, outside: int, kernel: int, *, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """A convolution, batch normalization and, if asked for, ReLU."""
    layers = [
        convolution(inside, outside, kernel, stride=stride, groups=groups),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *[nn.ReLU()] * relu)

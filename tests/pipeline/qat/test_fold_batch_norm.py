from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from pipeline.errors import QATError
from pipeline.qat.fold_batch_norm import fold_batch_norms

NORMS = nn.modules.batchnorm._BatchNorm


def with_statistics(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, NORMS):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mobilenetv2_035", 0),  # norms that activate as well
        ("mobilenetv3_small_050", 0),
        ("test_resnet", 0),
        ("densenet121", 62),  # before the convolution, where they cannot be folded
    ],
)
def test_a_folded_network_computes_the_same(name: str, left: int) -> None:
    network = with_statistics(timm.create_model(name, num_classes=5))
    folded = copy.deepcopy(network)
    images = torch.randn(3, 3, 64, 64)
    before = sum(isinstance(module, NORMS) for module in network.modules())
    count = fold_batch_norms(folded, images[:1])
    after = [module for module in folded.modules() if isinstance(module, NORMS)]
    assert (count, len(after)) == (before - left, left)
    with torch.inference_mode():
        expected = network(images)
        error = (folded(images) - expected).abs().max() / expected.abs().max()
    assert error < 1e-4


def test_folded_weights_are_trainable() -> None:
    network = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)))
    fold_batch_norms(network, torch.randn(1, 3, 4, 4))
    network(torch.randn(2, 3, 4, 4)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is not None] == [
        "0.weight",
        "0.bias",
    ]


class Between(nn.Module):
    """Uses what lies between the convolution and its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        total: torch.Tensor = self.norm(features) + features
        return total


def test_a_network_that_cannot_be_folded_is_refused() -> None:
    network = with_statistics(Between())
    with pytest.raises(QATError, match=r"the student: .*batch norms"):
        fold_batch_norms(network, torch.randn(1, 3, 4, 4))

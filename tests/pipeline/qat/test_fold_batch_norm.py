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
    ("name", "unfolded"),
    [
        ("mobilenetv2_035", 0),  # batch norms that include the activation
        ("mobilenetv3_small_050", 0),
        ("test_resnet", 0),
        ("densenet121", 62),  # batch norms before a convolution cannot be folded
    ],
)
def test_folding_keeps_the_outputs(name: str, unfolded: int) -> None:
    torch.manual_seed(0)  # of the weights
    network = with_statistics(timm.create_model(name, num_classes=5))
    folded = copy.deepcopy(network)
    images = torch.randn(3, 3, 64, 64)
    before = sum(isinstance(module, NORMS) for module in network.modules())
    count = fold_batch_norms(folded, images[:1])
    after = [module for module in folded.modules() if isinstance(module, NORMS)]
    assert (count, len(after)) == (before - unfolded, unfolded)
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


class UsesConvolutionTwice(nn.Module):
    """Uses the value between a convolution and its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        total: torch.Tensor = self.norm(features) + features
        return total


def test_network_that_cannot_be_folded_raises() -> None:
    network = with_statistics(UsesConvolutionTwice())
    with pytest.raises(QATError, match=r"the student: .*batch norms"):
        fold_batch_norms(network, torch.randn(1, 3, 4, 4))

"""Untrained networks whose activations are like those of a trained one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_STD = 0.02  # of weights that would be 0


@torch.no_grad()
def make_realistic(network: nn.Module, pixels: Tensor) -> None:
    """Replaces weights of 0, and sets the statistics of the batch norms; in place.

    Without training, the head of some networks is 0, and so are the last layers of residual
    branches. Without statistics, activations of deep networks grow to 1e14 or shrink to 1e-10. The
    logits of such a network do not depend on the image, ranges for int8 have no meaning, and tiny
    values slow a processor down.

    Args:
        network: A network with random weights.
        pixels: Its inputs, float32 [n, 3, height, width], normalized; at least 2 images.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for name, weights in network.named_parameters():
        if name.endswith("bias") or weights.any():
            continue
        if weights.ndim > 1:
            weights.normal_(std=_STD)
        else:  # scales of norms and of residual branches
            weights.fill_(1)
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of this batch alone
    network.train()(pixels)
    for norm, before in zip(norms, momentum, strict=True):
        norm.momentum = before
    network.eval()

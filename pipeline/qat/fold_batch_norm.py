"""Batch norms folded into the convolutions before them, as they are in the exported student.

A runtime computes a convolution in integers only where its output is quantised right away, and a
batch norm between the two stands in the way. What is folded learns on as weights and biases.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pipeline.errors import QATError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Of the largest output; folding rounds weights in another order, nothing more.
_TOLERANCE = 1e-3


def fold_batch_norms(network: nn.Module, example: Tensor) -> int:
    """Folds every batch norm that takes a convolution's output alone, in place.

    Which ones do is seen from a forward pass. A batch norm that does not, such as one before its
    convolution, stays as it is.

    Args:
        network: In evaluation mode.
        example: Input of the network, float32.

    Returns:
        How many were folded.

    Raises:
        QATError: The network computes something else afterwards, since it uses what lies
            between a convolution and its batch norm, or shares one of them.
    """
    with torch.inference_mode():
        expected = network(example)
        pairs = _pairs(network, example)
        for norm, (path, convolution) in pairs.items():
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None and variance is not None  # _pairs
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                mean,
                variance,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            convolution.weight = _learnable(weight)
            convolution.bias = _learnable(bias)
            # timm's batch norms drop and activate as well.
            rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
            network.set_submodule(path, nn.Sequential(*rest) if rest else nn.Identity())
        error = (network(example) - expected).abs().max() / expected.abs().max()
    if not error <= _TOLERANCE:
        raise QATError(
            "the student",
            "computes something else once its batch norms are folded into its convolutions",
            "set qat.epochs to 0, or take another distill.model",
        )
    return len(pairs)


def _learnable(values: Tensor) -> nn.Parameter:
    with torch.inference_mode(False):
        return nn.Parameter(values.clone())


def _pairs(network: nn.Module, example: Tensor) -> dict[_BatchNorm, tuple[str, nn.Conv2d]]:
    """The batch norms with running statistics that follow a convolution: their path, and it."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: dict[_BatchNorm, tuple[str, nn.Conv2d]] = {}
    hooks = []

    def made(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append((output, module))

    def taken(path: str, norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        for output, convolution in outputs:
            if output is inputs[0] and norm.running_mean is not None:
                pairs[norm] = (path, convolution)

    for path, module in network.named_modules():
        if isinstance(module, _CONVOLUTIONS):
            hooks.append(module.register_forward_hook(made))
        elif isinstance(module, _BatchNorm):
            hooks.append(
                module.register_forward_pre_hook(
                    lambda norm, inputs, path=path: taken(path, norm, inputs)
                )
            )
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs

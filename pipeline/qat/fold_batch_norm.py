"""Folds batch norms into the preceding convolutions, as the export of the student does.

A runtime computes a convolution in integers only if its output is quantized directly, without a
batch norm between. The folded weights and biases stay trainable.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pipeline.errors import QATError

# Relative to the largest output; folding only changes the order of roundings.
_TOLERANCE = 1e-3


def fold_batch_norms(network: nn.Module, example: Tensor) -> int:
    """Folds, in place, every batch norm whose input is the output of a convolution.

    The pairs are found in a forward pass. Other batch norms, such as those before a convolution,
    are kept.

    Args:
        network: Network in evaluation mode.
        example: Input of the network, float32.

    Returns:
        Number of folded batch norms.

    Raises:
        QATError: The outputs change, because the network uses the value between a convolution and
            its batch norm, or uses one of the two more than once.
    """
    with torch.inference_mode():
        expected = network(example)
        pairs = _find_pairs(network, example)
        for norm, (path, convolution) in pairs.items():
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None and variance is not None  # see _find_pairs
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                mean,
                variance,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            convolution.weight, convolution.bias = _parameter(weight), _parameter(bias)
            # timm's batch norms include dropout and an activation.
            rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
            network.set_submodule(path, nn.Sequential(*rest) if rest else nn.Identity())
        error = (network(example) - expected).abs().max() / expected.abs().max()
    if not error <= _TOLERANCE:
        raise QATError(
            "the student",
            "computes other outputs after folding its batch norms into its convolutions",
            "set qat.epochs to 0, or choose another distill.model",
        )
    return len(pairs)


def _parameter(values: Tensor) -> nn.Parameter:
    with torch.inference_mode(False):
        return nn.Parameter(values.clone())


def _find_pairs(network: nn.Module, example: Tensor) -> dict[_BatchNorm, tuple[str, nn.Conv2d]]:
    """Path and convolution of each batch norm with running statistics that follows one."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: dict[_BatchNorm, tuple[str, nn.Conv2d]] = {}
    hooks = []

    def after_convolution(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append((output, module))

    def before_norm(path: str, norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        for output, convolution in outputs:
            if output is inputs[0] and norm.running_mean is not None:
                pairs[norm] = (path, convolution)

    for path, module in network.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(partial(before_norm, path)))
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs

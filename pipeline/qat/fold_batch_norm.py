"""Folds batch norms into the preceding convolutions, as the export of the student does.

A runtime computes a convolution in integers only if no batch norm lies between the convolution and
its quantizer. The folded weights and biases are trainable.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.errors import QATError

# Relative to the largest output; folding only changes float rounding.
_TOLERANCE = 1e-3


def fold_batch_norms(network: nn.Module, example: Tensor) -> int:
    """Folds every batch norm that directly follows a convolution, in place; returns their number.

    Other batch norms are kept.

    Args:
        network: Network in evaluation mode.
        example: Input of the network, float32; a forward pass finds the pairs to fold.

    Raises:
        QATError: The outputs change. The reason is that the network uses the value between a
            convolution and its batch norm, or uses one of the two more than once.
    """
    with torch.no_grad():
        expected = network(example)
        pairs = _find_pairs(network, example)
        for norm_path, convolution_path in pairs.items():
            norm: Any = network.get_submodule(norm_path)
            convolution: Any = network.get_submodule(convolution_path)
            fused = fuse_conv_bn_eval(convolution, norm)
            network.set_submodule(convolution_path, fused.requires_grad_())
            # timm's batch norms include dropout and an activation.
            rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
            network.set_submodule(norm_path, nn.Sequential(*rest) if rest else nn.Identity())
        error = (network(example) - expected).abs().max() / expected.abs().max()
    if not error <= _TOLERANCE:
        problem = "has other outputs after folding its batch norms into its convolutions"
        remedy = "set qat.epochs to 0, or choose another distill.model"
        raise QATError("the student", problem, remedy)
    return len(pairs)


def _find_pairs(network: nn.Module, example: Tensor) -> dict[str, str]:
    """Maps the path of a batch norm with statistics to that of the convolution before it."""
    outputs: list[tuple[Tensor, str]] = []
    pairs: dict[str, str] = {}

    def after_convolution(path: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append((output, path))

    def before_norm(path: str, norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        for output, convolution_path in outputs:
            if output is inputs[0] and norm.running_mean is not None:
                pairs[path] = convolution_path

    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                hook = module.register_forward_hook(partial(after_convolution, path))
                hooks.enter_context(hook)
            elif isinstance(module, _BatchNorm):
                hook = module.register_forward_pre_hook(partial(before_norm, path))
                hooks.enter_context(hook)
        network(example)
    return pairs

"""The form of a network for inference: branches and norms merged into single layers.

Some networks train several parallel branches that are one convolution after training (RepVGG,
MobileOne, FastViT). timm calls the conversion reparameterization. Only networks and layers that
define it are converted; other batch norms are folded by the export.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

TOLERANCE = 1e-4
"""Largest accepted difference of a logit in float64, relative to the largest |logit| of its image.

In float32 a deep network amplifies rounding to more than that, in either form.
"""

_METHODS = ("fuse", "reparameterize", "switch_to_deploy")  # in timm's order
_BATCH = 32


@dataclass(frozen=True)
class InferenceForm:
    """A network as it is exported.

    Attributes:
        network: A copy on the CPU in evaluation mode; reparameterized if ``difference`` is not
            None, else as it was trained.
        difference: Largest difference of a logit between the two forms in float32, relative to the
            largest |logit| of its image.
        problem: Why a network that can be reparameterized was not; else None.
    """

    network: nn.Module
    difference: float | None = None
    problem: str | None = None


def can_reparameterize(network: nn.Module) -> bool:
    """Whether the network or one of its layers defines a reparameterization."""
    # A network may have a submodule of such a name.
    return any(
        callable(getattr(type(module), name, None))
        for module in network.modules()
        for name in _METHODS
    )


def reparameterize(network: nn.Module) -> nn.Module:
    """A reparameterized copy of a network, on the CPU in evaluation mode.

    Its outputs are equal up to rounding; ``inference_form`` checks that. Its branches are lost, so
    the original is the one to keep for further training.
    """
    return _convert(_copy(network).double()).float()


def inference_form(network: nn.Module, pixels: Tensor) -> InferenceForm:
    """Reparameterizes a network, and compares its logits with those of the training form.

    A network whose logits differ by more than ``TOLERANCE``, or that fails to convert, is returned
    in its training form, with the reason.

    Args:
        network: Takes float32 [n, 3, height, width] and returns logits [n, classes]; not modified.
        pixels: Inputs for the comparison, float32 [n, 3, height, width], normalized.
    """
    trained = _copy(network)
    if not can_reparameterize(trained):
        return InferenceForm(trained)
    try:
        exact = _copy(network).double()
        converted = _convert(_copy(exact))
        error = _difference(exact, converted, pixels.double())
        difference = _difference(trained, converted.float(), pixels.float())
    except Exception as raised:  # the methods of networks raise any type
        reason = " ".join(str(raised).split()) or type(raised).__name__
        return InferenceForm(trained, problem=f"its reparameterization failed ({reason:.200})")
    if not error <= TOLERANCE:  # also NaN
        problem = f"its reparameterization changes logits by {error:.2g} of the largest one"
        return InferenceForm(trained, problem=problem)
    return InferenceForm(converted, difference)


def _copy(network: nn.Module) -> nn.Module:
    # Some networks cache values for evaluation, which `train` drops.
    return copy.deepcopy(network).cpu().train().eval()


@torch.no_grad()
def _convert(network: nn.Module) -> nn.Module:
    """Reparameterizes a network of float64 in place, so that merged weights are rounded once."""
    # timm converts the children of a module: with a parent, also the network itself.
    parent = nn.Sequential(network)
    reparameterize_model(parent, inplace=True)
    return parent[0].double().eval().requires_grad_()


@torch.inference_mode()
def _difference(trained: nn.Module, converted: nn.Module, pixels: Tensor) -> float:
    worst = torch.tensor(0.0)
    for batch in torch.split(pixels.cpu(), _BATCH):
        expected, logits = trained(batch), converted(batch)
        largest = expected.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(batch.dtype).tiny)
        worst = torch.maximum(worst, ((logits - expected).abs() / largest).max())  # keeps NaN
    return worst.item()

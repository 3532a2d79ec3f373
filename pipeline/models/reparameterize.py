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
"""Largest accepted difference of a logit, relative to the largest |logit| of its image."""

_METHODS = ("fuse", "reparameterize", "switch_to_deploy")  # in timm's order
_BATCH = 32


@dataclass(frozen=True)
class InferenceForm:
    """A network as it is exported.

    Attributes:
        network: A copy on the CPU in evaluation mode; reparameterized if ``difference`` is not
            None, else as it was trained.
        difference: Largest difference of a logit between the two forms, relative to the largest
            |logit| of its image.
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
    """A reparameterized copy of a network, on the CPU in evaluation mode; never resumable.

    Its outputs are equal up to rounding; ``inference_form`` checks that.
    """
    copied = copy.deepcopy(network).cpu().eval()
    if not can_reparameterize(copied):
        return copied
    # timm converts the children of a module: with a parent, the method of the network is called.
    parent = nn.Sequential(copied)
    with torch.no_grad():
        reparameterize_model(parent, inplace=True)
    converted: nn.Module = parent[0]
    return converted.eval().requires_grad_()


def inference_form(network: nn.Module, pixels: Tensor) -> InferenceForm:
    """Reparameterizes a network, and compares its logits with those of the training form.

    A network whose logits differ by more than ``TOLERANCE``, or that fails to convert, is returned
    in its training form, with the reason.

    Args:
        network: Takes float32 [n, 3, height, width] and returns logits [n, classes]; not modified.
        pixels: Inputs for the comparison, float32 [n, 3, height, width], normalized.
    """
    trained = copy.deepcopy(network).cpu().eval()
    if not can_reparameterize(trained):
        return InferenceForm(trained)
    try:
        converted = reparameterize(trained)
        difference = _difference(trained, converted, pixels)
    except Exception as error:  # the methods of networks raise any type
        reason = " ".join(str(error).split()) or type(error).__name__
        return InferenceForm(trained, problem=f"its reparameterization failed ({reason:.200})")
    if not difference <= TOLERANCE:  # also NaN
        problem = f"its reparameterization changes logits by {difference:.2g} of the largest one"
        return InferenceForm(trained, problem=problem)
    return InferenceForm(converted, difference)


@torch.inference_mode()
def _difference(trained: nn.Module, converted: nn.Module, pixels: Tensor) -> float:
    worst = torch.tensor(0.0)
    for batch in torch.split(pixels.cpu(), _BATCH):
        expected, logits = trained(batch), converted(batch)
        largest = expected.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(batch.dtype).tiny)
        worst = torch.maximum(worst, ((logits - expected).abs() / largest).max())  # keeps NaN
    return worst.item()

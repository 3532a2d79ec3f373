"""What a trained network says of images, for others to learn from."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn


def teacher_logits(model: nn.Module, pixels: Tensor, precision: torch.dtype) -> Tensor:
    """The logits of a network that does not learn itself.

    Args:
        model: In evaluation mode.
        pixels: float32 [n, 3, size, size] in 0…1, where the network is.
        precision: What the network computes in.

    Returns:
        float32 [n, classes]. A loss may be computed from them; they have no gradient.
    """
    mixed = precision != torch.float32
    with torch.inference_mode():
        with torch.autocast(pixels.device.type, precision) if mixed else nullcontext():
            said: Tensor = model(pixels)
        said = said.float()
    # What was made in inference mode may take no part in a backward pass; a copy made here may.
    return said.clone()

"""What may be done to an image's logits before they are compared."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["none", "centred", "standardised"]


def normalise(logits: Tensor, kind: Normalisation) -> Tensor:
    """Takes away each row's mean, or its mean and standard deviation.

    Standardisation is that of "Logit Standardization in Knowledge Distillation" (CVPR 2024).

    Args:
        logits: [n, classes].
        kind: What to take away.

    Returns:
        [n, classes], of the logits' dtype, but float32 for half precision: their squares would
        overflow, and the small number below would vanish.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if kind == "none":
        return logits
    centred = logits - logits.mean(dim=-1, keepdim=True)
    if kind == "centred":
        return centred
    # The small number keeps a row of equal logits finite, forwards and backwards.
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + 1e-7).sqrt()

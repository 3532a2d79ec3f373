"""What may be done to an image's logits before they are compared."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalization = Literal["none", "centered", "standardized"]


def normalize(logits: Tensor, kind: Normalization) -> Tensor:
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
    centered = logits - logits.mean(dim=-1, keepdim=True)
    if kind == "centered":
        return centered
    # The small number keeps a row of equal logits finite, forwards and backwards.
    variance = centered.square().mean(dim=-1, keepdim=True)
    return centered / (variance + 1e-7).sqrt()

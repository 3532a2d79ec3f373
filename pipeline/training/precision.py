"""The type that a network computes in while it learns."""

from __future__ import annotations

from typing import Literal

import torch

from pipeline.errors import ParameterError


def resolve_precision(
    wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device
) -> torch.dtype:
    """The type that a recipe names; ``auto`` takes bf16 on a CUDA device that has it, else fp32.

    Raises:
        ParameterError: The CUDA device cannot compute in bf16.
    """
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" and has_bf16 else torch.float32
    if wanted == "bf16" and not has_bf16:
        raise ParameterError(
            "precision = bf16", "this CUDA device cannot compute in it", "set it to fp16 or fp32"
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]

"""Precision of the forward pass."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from pipeline.errors import ParameterError


def resolve_precision(
    name: Literal["auto", "fp32", "bf16", "fp16"],
    device: torch.device,
    trained: nn.Module | None = None,
) -> torch.dtype:
    """The dtype of a ``precision`` parameter.

    ``auto`` is bf16 on a CUDA device that supports it. On a CPU it is bf16 for training where that
    was measured to be faster: on a processor with AMX, and for a network without grouped
    convolutions. Otherwise it is fp32.

    Args:
        name: Value of the parameter.
        device: Device of the network.
        trained: The network to train; None for inference.

    Raises:
        ParameterError: The CUDA device does not support bf16.
    """
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        fast = has_bf16 if device.type == "cuda" else device.type == "cpu" and _is_fast(trained)
        return torch.bfloat16 if fast else torch.float32
    if name == "bf16" and not has_bf16:
        problem = "the CUDA device does not support it"
        raise ParameterError("precision = bf16", problem, "set it to fp16 or fp32")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _is_fast(trained: nn.Module | None) -> bool:
    """Whether this processor trains a network faster in bf16 than in fp32."""
    return trained is not None and has_amx() and not _has_grouped_convolutions(trained)


def has_amx() -> bool:
    """Whether the processor multiplies matrices of bf16 in AMX tiles.

    AVX512-BF16 alone does not suffice: with it, training in bf16 takes longer than in fp32.
    """
    query = getattr(torch.cpu, "get_capabilities", None)  # torch 2.8 does not have it
    return query is not None and bool(query().get("amx_bf16", False))


def _has_grouped_convolutions(network: nn.Module) -> bool:
    """Their backward pass takes longer in bf16 than in fp32, most of all with a stride."""
    convolutions = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    return any(convolution.groups > 1 for convolution in convolutions)

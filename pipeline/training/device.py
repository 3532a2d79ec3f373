"""The device and the floating-point type of training."""

from __future__ import annotations

from typing import Literal

import torch

from pipeline.errors import ParameterError
from pipeline.params import Run
from pipeline.training.process_rank import read_process_rank


def prepare_torch(run: Run) -> torch.device:
    """Seeds torch, sets its CPU threads, and returns the device.

    In distributed training on CUDA each process gets the GPU of its local rank.

    Raises:
        ParameterError: The device does not exist, or not for every process.
    """
    device = resolve_device(run.device)
    process = read_process_rank()
    if process.world_size > 1:
        device = _local_device(device, process.local_rank)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    return device


def resolve_device(name: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The named device; ``auto`` is CUDA, else MPS, else the CPU.

    Raises:
        ParameterError: The device does not exist.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        raise ParameterError(
            f"run.device = {name}", "torch finds no such device", "set run.device to auto or cpu"
        )
    best = "cuda" if cuda else "mps" if mps else "cpu"
    return torch.device(best if name == "auto" else name)


def resolve_precision(
    name: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device
) -> torch.dtype:
    """The named dtype; ``auto`` is bf16 on a CUDA device that supports it, else fp32.

    Raises:
        ParameterError: The CUDA device does not support bf16.
    """
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and has_bf16 else torch.float32
    if name == "bf16" and not has_bf16:
        raise ParameterError(
            "precision = bf16", "this CUDA device does not support it", "set it to fp16 or fp32"
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _local_device(device: torch.device, local_rank: int) -> torch.device:
    if device.type == "mps":
        raise ParameterError(
            "run.device = mps", "does not support distributed training", "set run.device to cpu"
        )
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ParameterError(
            "run.device = cuda",
            f"local rank {local_rank} has no GPU, this machine has {count}",
            "start one process per GPU",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)

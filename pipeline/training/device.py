"""Device of training."""

from __future__ import annotations

import os
from typing import Literal

import torch

from pipeline.errors import ParameterError, one_line
from pipeline.params import Run
from pipeline.training.allocator import keep_freed_memory
from pipeline.training.process_rank import read_process_rank


def prepare_torch(run: Run) -> torch.device:
    """Sets torch's seed, determinism, CPU threads and allocator; returns the training device.

    In distributed training on CUDA, this is the GPU with the local rank of the process.

    Raises:
        ParameterError: The device does not exist or cannot be used, or has no GPU for this process.
    """
    device, process = resolve_device(run.device), read_process_rank()
    if process.world_size > 1 and device.type != "cpu":
        device = _local_gpu(device.type, process.local_rank)
    if device.type == "cuda":
        _check_usable(device)
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its start
        torch.use_deterministic_algorithms(True)
    if device.type == "cpu":
        keep_freed_memory()
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
        problem = "the device is not available"
        if name == "cuda" and (reason := _why_no_cuda()):
            problem += f" ({reason})"
        raise ParameterError(f"run.device = {name}", problem, "set run.device to auto or cpu")
    best = "cuda" if cuda else "mps" if mps else "cpu"
    return torch.device(best if name == "auto" else name)


def unrepeatable_operation(error: RuntimeError) -> str:
    """The operation that torch refused because of ``run.deterministic``; empty for other errors."""
    operation, refusal, _ = str(error).partition(" does not have a deterministic implementation")
    return operation if refusal else ""


def _why_no_cuda() -> str:
    """What torch says: no driver, or one that is too old for it; empty if it says nothing."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return "this build of torch has no CUDA"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return _first_sentence(error)
    return ""


def _check_usable(device: torch.device) -> None:
    """Begins to use a GPU.

    Raises:
        ParameterError: Another process has it exclusively, its memory is full, or it failed.
    """
    try:
        torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        raise ParameterError(
            f"run.device = {device.type}",
            f"{device} cannot be used ({_first_sentence(error)})",
            "wait until no other process uses it, select another GPU with CUDA_VISIBLE_DEVICES, "
            "or set run.device to cpu",
        ) from None


def _first_sentence(error: RuntimeError) -> str:
    return one_line(error).split(". ")[0].rstrip(".").split(" CUDA kernel errors might")[0]


def _local_gpu(device_type: str, local_rank: int) -> torch.device:
    parameter, count = f"run.device = {device_type}", torch.cuda.device_count()
    if device_type == "mps":
        problem = "does not support distributed training"
        raise ParameterError(parameter, problem, "set run.device to cpu")
    if local_rank >= count:
        problem = f"there is no GPU for local rank {local_rank}, the number of GPUs is {count}"
        raise ParameterError(parameter, problem, "start one process per GPU")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)

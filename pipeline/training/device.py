"""Where training runs."""

from __future__ import annotations

from typing import Literal

import torch

from pipeline.errors import ParameterError
from pipeline.params import Run
from pipeline.training.process_rank import read_process_rank


def prepare_torch(run: Run) -> torch.device:
    """Seeds torch, sets its CPU threads, and resolves the device.

    Where several processes train together, each takes the GPU of its number on its machine.

    Raises:
        ParameterError: The named device is not there, or not for every process.
    """
    device = resolve_device(run.device)
    process = read_process_rank()
    if process.world_size > 1:
        device = _own_device(device, process.local_rank)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    return device


def resolve_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The device that a parameter names; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ParameterError: The named device is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = next(n for n, is_there in there.items() if is_there) if wanted == "auto" else wanted
    if not there[name]:
        raise ParameterError(
            f"run.device = {name}", "torch sees no such device", "set run.device to auto or cpu"
        )
    return torch.device(name)


def _own_device(device: torch.device, place: int) -> torch.device:
    """The device of the process with a number, among the processes of one machine."""
    if device.type == "mps":
        raise ParameterError(
            "run.device = mps", "several processes cannot train on it", "set run.device to cpu"
        )
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    if place >= count:
        raise ParameterError(
            "run.device = cuda",
            f"process {place + 1} of this machine has no GPU of its own, there are {count}",
            "start as many processes as there are GPUs",
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)

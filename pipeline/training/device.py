"""Where training runs."""

from __future__ import annotations

from typing import Literal

import torch

from pipeline.errors import ParameterError
from pipeline.params import Run


def prepare_torch(run: Run) -> torch.device:
    """Seeds torch, sets its CPU threads, and resolves the device.

    Raises:
        ParameterError: The named device is not there.
    """
    device = resolve_device(run.device)
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

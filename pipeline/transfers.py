"""Copies of arrays between the host and a training device.

A copy to a GPU from ordinary memory waits for the GPU, and so does every read of a value. Training
and inference therefore copy with these functions only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(
    array: NDArray[Any], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """Copies an array to a device; to a GPU asynchronously, from pinned memory.

    Args:
        array: Any numeric array; on the CPU, the result may share its memory.
        device: Device of the result.
        dtype: Dtype of the result, which the host converts to; None is that of the array.
    """
    if not array.flags.writeable:  # such as a memory-mapped file
        array = np.array(array)
    tensor = torch.from_numpy(array).to(dtype=dtype)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> NDArray[Any]:
    """Reads a tensor; waits until a GPU has computed it."""
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array

"""Copies of arrays between the host and a training device.

A copy to a GPU from ordinary memory waits for the GPU, and so does every read of a value. Training
and inference therefore copy with these functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_VALUES = 2**24  # copied at once


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


def take_rows(array: Tensor, indices: NDArray[np.int64]) -> Tensor:
    """Rows of a tensor, on its device."""
    return array[to_device(indices, array.device)]


def copy_to_device(parts: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Copies arrays, concatenated along the first axis, to a device; in small pieces from files.

    Raises:
        torch.OutOfMemoryError: The device is too small.
    """
    dtype = torch.from_numpy(np.empty(0, parts[0].dtype)).dtype
    rows = sum(map(len, parts))
    result = torch.empty((rows, *parts[0].shape[1:]), dtype=dtype, device=device)
    values, end = result.view(-1), 0
    for part in parts:
        flat = part.reshape(-1)
        for start in range(0, flat.size, _VALUES):
            piece = torch.from_numpy(np.array(flat[start : start + _VALUES]))
            values[end : end + len(piece)].copy_(piece)
            end += len(piece)
    return result


def to_host(tensor: Tensor) -> NDArray[Any]:
    """Reads a tensor; waits until a GPU has computed it."""
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array

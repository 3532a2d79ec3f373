"""Bytes to numbers in 0…1, and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_unit_range(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [n, height, width, 3] to float32 [n, 3, height, width] in 0…1, channels last."""
    tensor = torch.from_numpy(np.array(images)).to(device)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def to_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """The inverse of ``to_unit_range``, rounded: uint8 [n, height, width, 3]."""
    rounded = pixels.mul(255).round().clamp(0, 255).to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()

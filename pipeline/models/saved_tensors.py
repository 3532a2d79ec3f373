"""Tensors as safetensors stores them: on the CPU, contiguous, each with its own memory."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def to_saved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict in the form that safetensors accepts.

    safetensors refuses tensors that share memory, such as tied weights and parts of a larger
    tensor. They are copied, so every name is stored, and the file can be loaded name by name.
    """
    saved: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.nbytes() != own.nbytes or storage.data_ptr() in used:
            own = own.clone()
        used.add(own.untyped_storage().data_ptr())
        saved[name] = own
    return saved

"""A GPU that computes shapes, dtypes and devices but no values, for machines without one.

PyTorch's ``FakeTensorMode`` runs the code paths of CUDA: mixing devices raises, and so does reading
a value (``item``, ``tolist``, ``if tensor``) or an operation whose result has a shape that depends
on values. In addition, this module records what makes the host wait for a GPU.

The backward pass is a walk over the graph in Python, because autograd's engine asks the driver for
its streams.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

import pipeline

GPU = torch.device("cuda", 0)
_LIBRARY = Path(pipeline.__file__).parent


class Waits(TorchDispatchMode):
    """Records where the host waits for the GPU.

    Attributes:
        reads: Places in the code that copy a tensor from the GPU to the host.
        writes: Places that copy to the GPU synchronously: not from pinned memory, or to index.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.writes: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = [tensor for tensor in tensors if tensor.device.type == "cuda"]
        if name.startswith("_fused_"):  # has no implementation without values
            assert all(tensor.device == GPU for tensor in tensors)
            return None
        source = tensors[-1] if name == "copy_" else tensors[0] if tensors else None
        if name == "copy_" and on_gpu and source.device.type == "cpu" and source.ndim:
            self._record_write(source, len(args) > 2 and args[2])
        if name == "_to_copy" and source.device.type != kwargs.get("device", source.device).type:
            if source.device.type == "cuda":
                self.reads.append(_place())
            else:
                self._record_write(source, kwargs.get("non_blocking", False))
        if name in ("index", "index_put", "index_put_") and on_gpu:
            indices = [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, Tensor)]
            self.writes += [_place() for index in indices if index.device.type == "cpu"]
        return func(*args, **kwargs)

    def _record_write(self, source: Tensor, non_blocking: bool) -> None:
        if not (non_blocking and getattr(source, "is_in_pinned_memory", False)):
            self.writes.append(_place())


def _place() -> str:
    """The line of the library that is being run."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_LIBRARY) and path.name != "transfers.py":
            return f"{path.relative_to(_LIBRARY)}:{frame.f_lineno}"
        frame = frame.f_back
    return "not in the library"


@contextmanager
def fake_gpu() -> Iterator[Waits]:
    """Pretends that ``GPU`` exists; networks and tensors must be created inside.

    ``Tensor.cpu`` of a tensor on the GPU is a read, which returns zeros or, for bools, true.
    """
    waits = Waits()
    real_cpu, real_numpy, real_to = Tensor.cpu, Tensor.numpy, nn.Module.to

    def cpu(self: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return real_cpu(self)
        waits.reads.append(_place())
        with _disable_current_modes():
            return torch.full(self.shape, self.dtype == torch.bool, dtype=self.dtype)

    def numpy(self: Tensor) -> NDArray[Any]:
        with _disable_current_modes():
            if isinstance(self, FakeTensor) and self.device.type == "cpu":
                self = torch.zeros(self.shape, dtype=self.dtype)
            return real_numpy(self)

    def pin_memory(self: Tensor) -> Tensor:
        self.is_in_pinned_memory = True
        return self

    def to(self: nn.Module, device: torch.device, **options: Any) -> nn.Module:
        if not list(self.parameters()):
            return real_to(self, device, **options)
        assert all(tensor.device == device for tensor in self.state_dict().values())
        return self

    def deepcopy(self: FakeTensor, memo: Any) -> Tensor:
        copied = self.detach().clone()
        return (
            nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
        )

    generator = SimpleNamespace(manual_seed=lambda seed: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeTensorMode, "avoid_device_init", True)
        patch.setattr(FakeTensor, "__deepcopy__", deepcopy, raising=False)
        patch.setattr(Tensor, "cpu", cpu)
        patch.setattr(Tensor, "numpy", numpy)
        patch.setattr(Tensor, "pin_memory", pin_memory)
        patch.setattr(Tensor, "backward", lambda self: _run_backward(self))
        patch.setattr(nn.Module, "to", to)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **options: True)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "set_device", lambda device: None)
        patch.setattr(torch.cuda, "default_generators", (generator,))
        patch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
        with FakeTensorMode(allow_non_fake_inputs=True), waits:
            yield waits


def on_gpu(build: Any) -> Any:
    """A network built on the fake GPU."""
    with GPU:
        return build()


def _run_backward(loss: Tensor) -> None:
    """What ``loss.backward()`` does, for a graph without hooks."""
    gradients = {loss.grad_fn: {0: torch.ones_like(loss)}}
    with torch.no_grad():
        for node in _topological(loss.grad_fn):
            found = gradients.pop(node, {})
            if not found:
                continue
            results = node(*(found.get(number) for number in range(max(found) + 1)))
            results = results if isinstance(results, tuple) else (results,)
            for (target, number), gradient in zip(node.next_functions, results, strict=False):
                if target is None or gradient is None:
                    continue
                expected = target._input_metadata[number]
                assert gradient.device == expected.device, (gradient.device, target)
                gradient = gradient.sum_to_size(tuple(expected.shape)).to(expected.dtype)
                inputs = gradients.setdefault(target, {})
                inputs[number] = inputs[number] + gradient if number in inputs else gradient


def _topological(root: Any) -> list[Any]:
    """The nodes of a graph, each before those that it passes gradients to."""
    finished, seen, stack = [], {root}, [(root, iter(root.next_functions))]
    while stack:
        following = stack[-1][1]
        target = next((t for t, _ in following if t is not None and t not in seen), None)
        if target is None:
            finished.append(stack.pop()[0])
        else:
            seen.add(target)
            stack.append((target, iter(target.next_functions)))
    return finished[::-1]

"""Distributed training with the same results as training in one process.

Each process computes the views and the logits of its shard of every batch. The logits are gathered,
so every process computes the loss of the whole batch, and the gradients are summed over the
processes. Batch size and learning rate therefore have the same meaning at any world size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load, save
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import TrainingError
from pipeline.models.saved_tensors import to_saved
from pipeline.training.process_rank import ProcessRank, read_process_rank
from pipeline.training.rng import fork_rng
from pipeline.training.state import TrainingState

_SINGLE, _CPU = ProcessRank(), torch.device("cpu")


class ProcessGroup:
    """Collective operations of a training run; every process calls them in the same order.

    They do nothing at world size 1.

    Args:
        process: Rank of this process.
        device: Device of this process.
    """

    def __init__(self, process: ProcessRank = _SINGLE, device: torch.device = _CPU) -> None:
        self.process = process
        self.is_main = process.is_main
        self._is_single = process.world_size == 1
        self._device = device
        self._ddp: DistributedDataParallel | None = None

    def wrap(self, model: nn.Module, *, find_unused_parameters: bool) -> nn.Module:
        """Wraps a model so that its backward pass sums the gradients over the processes.

        Args:
            model: All processes get the weights of the main process.
            find_unused_parameters: Whether parameters are frozen in some epochs.
        """
        if self._is_single:
            return model
        self._ddp = DistributedDataParallel(model, find_unused_parameters=find_unused_parameters)
        # Batch norm uses its running statistics only in validation, which broadcasts them.
        self._ddp.broadcast_buffers = False
        # A lambda, since DDP rejects hooks with annotations that are strings (PEP 563).
        self._ddp.register_comm_hook(None, lambda state, bucket: _sum_bucket(bucket))
        return self._ddp

    def sync_batch_norm(self, model: nn.Module) -> None:
        """Converts batch norms to synchronized batch norms, which exist on CUDA only."""
        if not self._is_single and self._device.type == "cuda":
            convert_sync_batchnorm(model)  # unlike torch's, keeps the activation of timm's layers

    def sync_gradients(self, enabled: bool) -> AbstractContextManager[None]:
        """Context of a backward pass, which sums gradients over the processes only if enabled."""
        return nullcontext() if enabled or self._ddp is None else self._ddp.no_sync()

    def shard_slice(self, count: int) -> slice:
        """The shard of ``count`` items for this process; shard sizes differ by at most one."""
        bounds = _shard_bounds(count, self.process.world_size)
        return slice(bounds[self.process.rank], bounds[self.process.rank + 1])

    def shard_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The shard of an array for this process."""
        return rows[self.shard_slice(len(rows))]

    def all_gather(self, rows: Tensor, total: int) -> Tensor:
        """The rows of all shards, [total, …]; gradients flow to the rows of this process only."""
        if self._is_single:
            return rows
        bounds = _shard_bounds(total, self.process.world_size)
        gathered: Tensor = _AllGather.apply(rows, bounds, self.process.rank)
        return gathered

    def fork_rng(self, device: torch.device, *key: int) -> AbstractContextManager[None]:
        """Context with different random numbers in each process."""
        return nullcontext() if self._is_single else fork_rng(device, *key, self.process.rank)

    def all_reduce_sum(self, *numbers: int) -> list[int]:
        """Each number, summed over the processes."""
        if self._is_single:
            return list(numbers)
        # A CPU tensor, so that the reduction does not wait for queued GPU work.
        summed = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(summed)
        return cast("list[int]", summed.tolist())

    def all_reduce_any(self, *flags: bool) -> list[bool]:
        """Whether each flag is set in any process. Also a barrier."""
        return [count > 0 for count in self.all_reduce_sum(*flags)]

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copies the buffers of the main process to all processes."""
        if not self._is_single:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def broadcast_state(self, state: TrainingState, restored: bool) -> bool:
        """Copies the main process's state to all if it was restored; returns whether it was."""
        if self._is_single or not self.all_reduce_any(self.is_main and restored)[0]:
            return restored
        tensors, metadata = b"", b""
        if self.is_main:
            tensors = save(to_saved(state.tensors()))
            metadata = json.dumps(state.metadata()).encode()
        tensors, metadata = self._broadcast(tensors), self._broadcast(metadata)
        if not self.is_main:
            state.load(load(tensors), json.loads(metadata))
        return True

    def _broadcast(self, content: bytes) -> bytes:
        """The main process's bytes; not ``broadcast_object_list``, which unpickles them."""
        buffer = torch.empty(
            self.all_reduce_sum(len(content) if self.is_main else 0)[0], dtype=torch.uint8
        )
        if self.is_main:
            buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(buffer, src=0)
        return buffer.numpy().tobytes()


@contextmanager
def init_distributed(device: torch.device) -> Iterator[ProcessGroup]:
    """Initializes the process group that torchrun's environment variables describe.

    Contexts can be nested: several training runs then share the group of the outer one. Gloo cannot
    initialize it again, since its processes may still find the addresses of the first time.

    Raises:
        TrainingError: The processes cannot connect.
    """
    process = read_process_rank()
    if process.world_size == 1:
        yield ProcessGroup()
        return
    group = ProcessGroup(process, device)
    if dist.is_initialized():
        yield group
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=process.rank, world_size=process.world_size)
    except (RuntimeError, ValueError) as error:
        name = f"rank {process.rank} of world size {process.world_size}"
        problem = f"cannot join the process group ({' '.join(str(error).split())})"
        raise TrainingError(name, problem, "start all processes with torchrun") from None
    yield group
    # Skipped after an exception, since other processes may never reach the barrier.
    group.all_reduce_any(False)
    dist.destroy_process_group()


class _AllGather(torch.autograd.Function):
    """All-gather whose backward pass keeps the gradient of this process's rows.

    Every process computes the same loss, so the sum of the gradients over the processes is the
    gradient of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bounds: Sequence[int], rank: int) -> Tensor:
        ctx.own = slice(bounds[rank], bounds[rank + 1])
        sizes = np.diff(bounds).tolist()
        # dist.all_gather needs equal sizes.
        padded = F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, max(sizes) - len(rows)))
        shards = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(shards, padded)
        return torch.cat([shard[:size] for shard, size in zip(shards, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own], None, None


def _shard_bounds(count: int, shards: int) -> list[int]:
    """The start of every shard, and the end of the last one."""
    return [count * shard // shards for shard in range(shards + 1)]


def _sum_bucket(bucket: Any) -> torch.futures.Future[Tensor]:
    """Communication hook that sums gradients; DDP's default hook averages them."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    summed: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return summed

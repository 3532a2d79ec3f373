"""Several processes train one network as if they were one.

Each process makes views and logits of its share of every batch. The logits of all shares are then
gathered, so that every process computes the loss of the whole batch, whatever the method makes of
the images of a batch; and the gradients that flow back into the shares are added up. So a batch
means the same on one process and on many, and so does the learning rate that belongs to it.
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

from pipeline.errors import ParameterError, TrainingError
from pipeline.params import Recipe
from pipeline.training.process_rank import ProcessRank, read_process_rank
from pipeline.training.rng import draws_of
from pipeline.training.state import State


class Group:
    """The processes of a training; this one is a process alone, which has nothing to agree on.

    Attributes:
        process: Which of the processes this one is.
    """

    process = ProcessRank()

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and speaks for all."""
        return self.process.is_main

    def check(self, recipe: Recipe, images: int) -> None:
        """Sees to it that every process gets something to do in every part of every batch.

        Raises:
            ParameterError: There are more processes than images in a part.
        """

    def adapt(self, model: nn.Module) -> None:
        """Makes layers that look at a whole batch look beyond the share of this process."""

    def spread(self, model: nn.Module, *, frozen: bool) -> nn.Module:
        """The network to train by: it adds up the gradients of all processes.

        Args:
            model: With the same architecture in every process; gets the weights of the first.
            frozen: Not all of its layers learn all the time.
        """
        return model

    def adding_up(self, last: bool) -> AbstractContextManager[None]:
        """Around each part of a step: gradients are added up with the last part."""
        return nullcontext()

    def start_alike(self, state: State, restored: bool) -> bool:
        """Gives every process the state of the first, if that one has restored it."""
        return restored

    def share(self, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of a part of a batch that this process looks at."""
        return part

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """The rows of all shares, [total, …]; a gradient goes back to the rows of this process."""
        return rows

    def own_draws(self, device: torch.device, *key: int) -> AbstractContextManager[None]:
        """Within, layers draw other random numbers than in the other processes."""
        return nullcontext()

    def share_statistics(self, model: nn.Module) -> None:
        """Gives every process the buffers of the first."""

    def stretch(self, count: int) -> slice:
        """The stretch of ``count`` things that this process looks at."""
        return slice(0, count)

    def add_up(self, *numbers: int) -> list[int]:
        """Each number, summed over the processes."""
        return list(numbers)

    def any(self, *flags: bool) -> list[bool]:
        """Whether each flag is up in any process; no process goes on before all have asked."""
        return list(flags)


class Several(Group):
    """One of several processes, which all call the same methods in the same order."""

    def __init__(self, process: ProcessRank, device: torch.device) -> None:
        self.process = process
        self._device = device
        self._spread: DistributedDataParallel | None = None

    def check(self, recipe: Recipe, images: int) -> None:
        """See ``Group.check``."""
        steps = -(-images // recipe.batch_size)
        batch = images // steps  # the smallest
        part = batch // min(recipe.accumulate, batch)
        if part < self.process.world_size:
            section = type(recipe).__name__.lower()  # a recipe's class is named after its section
            raise ParameterError(
                f"{section}.batch_size = {recipe.batch_size}",
                f"leaves {part} images in a part of a batch (accumulate = {recipe.accumulate}, "
                f"{images} training images) for {self.process.world_size} processes",
                "raise it, or start fewer processes",
            )

    def adapt(self, model: nn.Module) -> None:
        """See ``Group.adapt``."""
        if self._device.type == "cuda":
            # timm's, because torch's would drop the activation inside of timm's batch norms.
            convert_sync_batchnorm(model)

    def spread(self, model: nn.Module, *, frozen: bool) -> nn.Module:
        """See ``Group.spread``."""
        self._spread = DistributedDataParallel(model, find_unused_parameters=frozen)
        # Each process has statistics of its own where batch norm cannot look beyond its share;
        # training never reads them, and whoever does gets those of the first.
        self._spread.broadcast_buffers = False
        self._spread.register_comm_hook(None, lambda state, bucket: _add_up_bucket(bucket))
        return self._spread

    def adding_up(self, last: bool) -> AbstractContextManager[None]:
        """See ``Group.adding_up``."""
        assert self._spread is not None
        return nullcontext() if last else self._spread.no_sync()

    def start_alike(self, state: State, restored: bool) -> bool:
        """See ``Group.start_alike``."""
        if not self.any(self.is_main and restored)[0]:
            return False
        tensors, facts = b"", b""
        if self.is_main:
            on_cpu = {n: t.detach().cpu().contiguous() for n, t in state.tensors().items()}
            tensors, facts = save(on_cpu), json.dumps(state.facts()).encode()
        tensors, facts = self._from_first(tensors), self._from_first(facts)
        if not self.is_main:
            state.restore(load(tensors), json.loads(facts))
        return True

    def share(self, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """See ``Group.share``."""
        return part[self.stretch(len(part))]

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """See ``Group.gather``."""
        ends = _ends(total, self.process.world_size)
        gathered: Tensor = _Gather.apply(rows, ends, self.process.rank)
        return gathered

    def own_draws(self, device: torch.device, *key: int) -> AbstractContextManager[None]:
        """See ``Group.own_draws``."""
        return draws_of(device, *key, self.process.rank)

    def share_statistics(self, model: nn.Module) -> None:
        """See ``Group.share_statistics``."""
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)

    def stretch(self, count: int) -> slice:
        """See ``Group.stretch``."""
        ends = _ends(count, self.process.world_size)
        return slice(ends[self.process.rank], ends[self.process.rank + 1])

    def add_up(self, *numbers: int) -> list[int]:
        """See ``Group.add_up``."""
        # On the CPU, so that a GPU need not end its work before these go on their way.
        summed = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(summed)
        return cast("list[int]", summed.tolist())

    def any(self, *flags: bool) -> list[bool]:
        """See ``Group.any``."""
        return [count > 0 for count in self.add_up(*flags)]

    def _from_first(self, content: bytes) -> bytes:
        size = self.add_up(len(content) if self.is_main else 0)[0]
        carried = torch.empty(size, dtype=torch.uint8)
        if self.is_main:
            carried.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(carried, src=0)
        return carried.numpy().tobytes()


@contextmanager
def join(device: torch.device) -> Iterator[Group]:
    """Meets the other processes of a training, if the environment says that there are any.

    Args:
        device: Of this process, see ``prepare_torch``.

    Raises:
        TrainingError: They do not meet.
    """
    process = read_process_rank()
    if process.world_size == 1:
        yield Group()
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=process.rank, world_size=process.world_size)
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise TrainingError(
            f"process {process.rank + 1} of {process.world_size}",
            f"has not met the others ({said})",
            "start all of them with torchrun",
        ) from None
    group = Several(process, device)
    yield group
    # Only at a good end: after a bad one the others may never come.
    group.any(False)
    dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Every process computes the same loss of the same rows, so each needs just its own gradient.

    Added up over the processes, the gradients of the weights are then those of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ends: Sequence[int], rank: int) -> Tensor:
        ctx.mine = slice(ends[rank], ends[rank + 1])
        sizes = np.diff(ends).tolist()
        # Shares differ by one image at most, but what is gathered must be of one size.
        padded = F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, max(sizes) - len(rows)))
        shares = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(shares, padded)
        return torch.cat([share[:size] for share, size in zip(shares, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.mine], None, None


def _ends(count: int, parts: int) -> list[int]:
    """Where stretches of ``count`` things begin and end; their lengths differ by one at most."""
    return [count * part // parts for part in range(parts + 1)]


def _add_up_bucket(bucket: Any) -> torch.futures.Future[Tensor]:
    """Where DistributedDataParallel would take the mean over the processes."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    added: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return added

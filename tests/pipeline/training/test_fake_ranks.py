"""What two processes send to each other, with a process group that sends nothing."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.losses import KDLoss
from pipeline.params import Views
from pipeline.training import distributed
from pipeline.training.distributed import ProcessGroup
from pipeline.training.loop import train
from pipeline.training.process_rank import ProcessRank
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher
from tests.pipeline.training.small_training import (
    CLASSES,
    CPU,
    network,
    random_split,
    recipe,
)

IMAGES = 22


class Sent(TorchDispatchMode):
    """Records collective operations and copies of the tensors that they get."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            tensors = [leaf.clone() for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
            self.calls.append((func.overloadpacket.__name__, tensors))
        return func(*args, **(kwargs or {}))


def sum_bucket(bucket):
    """The hook of DDP; operations that send nothing have no result to wait for."""
    dist.all_reduce(bucket.buffer())
    done = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def train_as(rank, **settings):
    """Trains as one of two ranks; returns its collective operations."""
    logits = np.zeros((1, IMAGES, CLASSES), np.float32)
    logits[0, :, 0] = np.arange(IMAGES)
    task = TrainingTask(
        recipe(epochs=2, **settings),
        KDLoss(),
        random_split(IMAGES, seed=1),
        random_split(13, seed=2),
        Views(),
        CachedTeacher(logits),
    )
    dist.init_process_group("fake", rank=rank, world_size=2, store=FakeStore())
    try:
        group = ProcessGroup(ProcessRank(rank, 2, rank), CPU)
        with pytest.MonkeyPatch.context() as patch, Sent() as sent:
            patch.setattr(distributed, "_sum_bucket", sum_bucket)
            train(network(), task, TrainingEnvironment(CPU, 5, group))
    finally:
        dist.destroy_process_group()
    return sent.calls


@pytest.mark.parametrize("settings", [{}, {"accumulate": 3, "precision": "bf16"}])
def test_both_ranks_send_the_same_in_the_same_order(settings):
    first, second = (train_as(rank, **settings) for rank in (0, 1))

    def kinds(calls):
        return [(name, [(t.shape, t.dtype) for t in tensors]) for name, tensors in calls]

    assert kinds(first) == kinds(second)
    assert {name for name, _ in first} == {"allgather_", "allreduce_", "broadcast_"}


def test_every_image_is_computed_by_one_rank():
    """The first logit that a rank sends for an image is the image's number."""
    sent = [
        tensors[-1][:, 0]
        for calls in zip(*(train_as(rank) for rank in (0, 1)), strict=True)
        for name, tensors in calls
        if name == "allgather_" and tensors[-1].ndim == 2  # not the checks of DDP
    ]
    # In turn: the teacher's logits by both ranks, then the student's.
    numbers = torch.cat([rows for index, rows in enumerate(sent) if index % 4 < 2]).tolist()
    assert len(numbers) >= 2 * IMAGES  # shards are padded with zeros to equal sizes
    epoch = numbers[: len(numbers) // 2]
    assert set(epoch) == set(range(IMAGES))
    assert sorted(n for n in epoch if n) == list(range(1, IMAGES))

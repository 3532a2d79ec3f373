"""Which of a training's processes this one is, by the environment that its launcher left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """The place of a process among those that train together.

    Attributes:
        rank: 0 … world_size - 1, over all machines.
        world_size: Number of processes; 1 without distributed training.
        local_rank: Its number on its machine, which is that of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and speaks for all."""
        return self.rank == 0


def read_process_rank(environment: Mapping[str, str] = os.environ) -> ProcessRank:
    """Reads the variables that torchrun sets (and most cluster schedulers can set).

    They are RANK, WORLD_SIZE and LOCAL_RANK; without WORLD_SIZE the process is alone.
    """
    if "WORLD_SIZE" not in environment:
        return ProcessRank()
    rank = int(environment.get("RANK", "0"))
    world_size = int(environment["WORLD_SIZE"])
    return ProcessRank(rank, world_size, int(environment.get("LOCAL_RANK", "0")))

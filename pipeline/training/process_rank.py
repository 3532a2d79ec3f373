"""Rank and world size of this process, from the environment variables that torchrun sets."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """Rank of a process in distributed training.

    Attributes:
        rank: Rank over all machines, 0 … world_size - 1.
        world_size: Number of processes; 1 without distributed training.
        local_rank: Rank on this machine; selects the GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, the only one that writes files and log lines."""
        return self.rank == 0


def read_process_rank() -> ProcessRank:
    """The values of RANK, WORLD_SIZE and LOCAL_RANK; without WORLD_SIZE there is one process."""
    if "WORLD_SIZE" not in os.environ:
        return ProcessRank()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    return ProcessRank(*(int(os.environ.get(name, "0")) for name in names))

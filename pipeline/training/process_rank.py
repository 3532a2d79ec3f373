"""Rank and world size of this process, from the environment variables that torchrun sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """Rank of a process in distributed training.

    Attributes:
        rank: 0 … world_size - 1, over all machines.
        world_size: Number of processes; 1 without distributed training.
        local_rank: Rank on this machine; selects the GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the main process: the only one that writes files and log lines."""
        return self.rank == 0


def read_process_rank(environment: Mapping[str, str] = os.environ) -> ProcessRank:
    """Reads RANK, WORLD_SIZE and LOCAL_RANK; without WORLD_SIZE there is one process."""
    if "WORLD_SIZE" not in environment:
        return ProcessRank()
    rank, local_rank = (int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    return ProcessRank(rank, int(environment["WORLD_SIZE"]), local_rank)

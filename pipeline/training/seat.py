"""Which of a training's processes this one is, by the environment that its launcher left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seat:
    """The place of a process among those that train together.

    Attributes:
        rank: Its number, 0 … size - 1, over all machines.
        size: How many processes train together; 1 is a training without others.
        local_rank: Its number on its machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes and speaks for all."""
        return self.rank == 0


def find_seat(environment: Mapping[str, str] = os.environ) -> Seat:
    """Reads the variables that torchrun sets (and most cluster schedulers can set).

    They are RANK, WORLD_SIZE and LOCAL_RANK; without WORLD_SIZE the process is alone.
    """
    if "WORLD_SIZE" not in environment:
        return Seat()
    rank = int(environment.get("RANK", "0"))
    size = int(environment["WORLD_SIZE"])
    return Seat(rank, size, int(environment.get("LOCAL_RANK", "0")))

"""Rows of arrays in files, read by a thread while the step before is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ReadRows = Callable[[int, NDArray[np.int64]], NDArray[np.uint8]]
"""Copies rows into memory: of a view, by number, int64 [n]."""


class Prefetcher:
    """Reads the rows of the next step in one thread.

    Args:
        read: Reads rows.
        device: Training device. For a GPU, rows are in pinned memory, from which it copies them
            without waiting.
    """

    def __init__(self, read: ReadRows, device: torch.device) -> None:
        self._read_rows, self._device = read, device
        self._thread = ThreadPoolExecutor(1, "prefetcher", self._choose_gpu)
        self._current: dict[tuple[int, bytes], Future[Tensor]] = {}
        self._next: dict[tuple[int, bytes], Future[Tensor]] = {}

    def start(self, view: int, requests: Iterable[NDArray[np.int64]]) -> None:
        """Begins a step, and starts to read the rows of the step after it.

        Args:
            view: View number of the step after it.
            requests: The numbers with which ``rows`` will be called in that step.
        """
        self._current, submit = self._next, self._thread.submit
        self._next = {(view, rows.tobytes()): submit(self._read, view, rows) for rows in requests}

    def rows(self, view: int, numbers: NDArray[np.int64]) -> Tensor:
        """Rows of this step, uint8 on the host; those that were not requested are read now.

        Raises:
            Exception: Reading raised it, in the thread or now.
        """
        started = self._current.get((view, numbers.tobytes()))
        return self._read(view, numbers) if started is None else started.result()

    def _read(self, view: int, numbers: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(self._read_rows(view, numbers))
        return rows.pin_memory() if self._device.type == "cuda" else rows

    def _choose_gpu(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # a new thread starts with the first one

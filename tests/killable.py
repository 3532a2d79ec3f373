"""Work in processes that a test may kill."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path


class Killable:
    """Does a work in a folder, each time in a new process.

    A process is a fork of one that has done nothing but import, so it starts at once.

    Args:
        work: A function of a module that can be imported.
    """

    def __init__(self, work: Callable[[Path], None]) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([work.__module__])
        self._work = work

    def start(self, folder: Path) -> BaseProcess:
        """Begins, or goes on."""
        folder.mkdir(exist_ok=True)
        process = self._processes.Process(target=self._work, args=(folder,))
        process.start()
        return process

    def finish(self, folder: Path) -> None:
        """Works to the end."""
        process = self.start(folder)
        process.join(600)
        assert process.exitcode == 0

"""Arrays that are written step by step, with a journal from which a killed process resumes.

The journal contains the sizes of the files, and is written after their data is on disk. A resuming
process truncates the files to these sizes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError, StorageError
from pipeline.files import explain_storage, move_folder, read_json, write_json

JOURNAL_SECONDS = 2.0
"""Interval between two writes of the journal, and therefore the work that a kill can lose."""

Arrays = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and final shape of ``.npy`` files, by name."""


class JournaledArrays:
    """Arrays in ``.npy`` files that are appended to in C order.

    A context manager, which writes the journal at exit, also after an exception. If a file cannot
    be written, every method raises a StorageError, and finished steps are kept.

    Args:
        work: Folder for unfinished files, not a DVC output; used by one process at a time, and
            cleared if there is no journal with this key.
        key: Hash of everything that the content depends on.
        arrays: The files.

    Attributes:
        folder: Folder of the files.
        steps: Number of finished steps.
        correct: Number of correct predictions in these steps.
    """

    def __init__(self, work: Path, key: str, arrays: Arrays) -> None:
        self.folder = work / key
        self.steps = 0
        self.correct = 0
        self._work = work
        self._journal = work / f"{key}.json"
        self._arrays = arrays
        self._sizes: dict[str, int] = {}
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        with self._report_errors():
            if not self._read_journal():
                shutil.rmtree(self._work, ignore_errors=True)
                self.folder.mkdir(parents=True)
                self._write_headers()
            for path in self.folder.iterdir():
                if path.name in self._sizes:
                    os.truncate(path, self._sizes[path.name])
                else:
                    path.unlink()  # a temporary file of a killed process
        return self

    def __exit__(self, *exception: object) -> None:
        self.write_journal()

    def append(self, blocks: Mapping[str, NDArray[np.generic]], correct: int) -> None:
        """Appends the results of a step: blocks by file name, and the correct predictions."""
        sizes = dict(self._sizes)
        with self._report_errors():
            for name, block in blocks.items():
                with (self.folder / name).open("r+b") as file:
                    file.seek(sizes[name])  # not the end, after an interrupted attempt
                    file.write(np.ascontiguousarray(block).data)
                sizes[name] += block.nbytes
        self._sizes, self.steps, self.correct = sizes, self.steps + 1, self.correct + correct
        if time.monotonic() - self._written >= JOURNAL_SECONDS:
            self.write_journal()

    def write_journal(self) -> None:
        """Flushes the files to disk, then writes the journal."""
        with self._report_errors():
            for name in self._arrays:
                with (self.folder / name).open("r+b") as file:
                    os.fsync(file.fileno())
            journal = {"steps": self.steps, "correct": self.correct, "bytes": self._sizes}
            write_json(self._journal, journal)
        self._written = time.monotonic()

    def move_to(self, path: Path) -> None:
        """Replaces ``path`` by the finished folder, after the context has exited."""
        move_folder(self.folder, path)
        shutil.rmtree(self._work, ignore_errors=True)

    def _read_journal(self) -> bool:
        """Loads the journal; False if it is missing, damaged, or has sizes above the files'."""
        try:
            journal = read_json(self._journal)
            sizes = {name: int(journal["bytes"][name]) for name in self._arrays}
            steps, correct = int(journal["steps"]), int(journal["correct"])
            lengths = {name: (self.folder / name).stat().st_size for name in sizes}
        except (ArtifactError, KeyError, TypeError, ValueError, OSError):
            return False
        if any(lengths[name] < size for name, size in sizes.items()):
            return False
        self._sizes, self.steps, self.correct = sizes, steps, correct
        return True

    def _write_headers(self) -> None:
        for name, (dtype, shape) in self._arrays.items():
            descr = np.lib.format.dtype_to_descr(dtype)
            header = {"descr": descr, "fortran_order": False, "shape": shape}
            with (self.folder / name).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                self._sizes[name] = file.tell()

    @contextmanager
    def _report_errors(self) -> Iterator[None]:
        try:
            with explain_storage(self.folder):
                yield
        except StorageError as error:
            if not (self.steps or self._journal.exists()):
                raise
            problem = f"{error.problem}; finished batches are kept"
            raise StorageError(error.thing, problem, error.remedy) from error

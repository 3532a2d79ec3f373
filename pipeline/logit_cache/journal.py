"""Arrays that are appended to step by step, with a journal from which a killed process resumes.

The journal is written after the data that it counts is on disk. A resuming process truncates the
files to the sizes in the journal and continues from there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError, TrainingError
from pipeline.files import put_in_place, read_json, write_json

JOURNAL_SECONDS = 2.0
"""Interval between two writes of the journal: what a killed process may lose."""

Arrays = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and final shape of files, by name."""


class JournaledArrays:
    """``.npy`` files that grow in the order of their numbers; only one process may use a folder.

    A context manager, which writes the journal when it exits for any reason. If a file cannot be
    written, every method raises a TrainingError, and finished steps are kept.

    Args:
        work: Folder for unfinished files, not a DVC output; files of other keys are removed.
        key: Hash of everything that the bytes depend on.
        arrays: The files.

    Attributes:
        folder: Folder of the files.
        steps: Finished steps.
        correct: Correct predictions in these steps.
    """

    def __init__(self, work: Path, key: str, arrays: Arrays) -> None:
        self.folder = work / key
        self.steps = 0
        self.correct = 0
        self._work = work
        self._journal = work / f"{key}.json"
        self._arrays = arrays
        self._written = time.monotonic()
        self._sizes: dict[str, int] = {}
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._remove_others()
            if not self._read_journal():
                self._start()
            for name, size in self._sizes.items():
                # Unbuffered, so that no write is pending when an exception ends the work.
                file = self._stack.enter_context((self.folder / name).open("r+b", buffering=0))
                file.truncate(size)
                self._files[name] = file
        except OSError as error:
            raise self._write_error(error, self._journal.exists()) from None
        return self

    def __exit__(self, *exception: object) -> None:
        with self._stack:
            self.write_journal()

    def append(self, blocks: Mapping[str, NDArray[np.generic]], correct: int) -> None:
        """Appends the results of a step.

        Args:
            blocks: Next numbers of every file, by name.
            correct: Correct predictions of the step.
        """
        sizes = dict(self._sizes)
        try:
            for name, block in blocks.items():
                data = np.ascontiguousarray(block).data.cast("B")
                # Overwrites what an interrupted attempt at this step has left.
                self._files[name].seek(sizes[name])
                while data:
                    written = self._files[name].write(data)
                    sizes[name] += written
                    data = data[written:]
        except OSError as error:
            raise self._write_error(error, self.steps > 0) from None
        self._sizes, self.steps, self.correct = sizes, self.steps + 1, self.correct + correct
        if time.monotonic() - self._written >= JOURNAL_SECONDS:
            self.write_journal()

    def write_journal(self) -> None:
        """Flushes the files to disk, then writes the journal."""
        try:
            for file in self._files.values():
                os.fsync(file.fileno())
            journal = {"steps": self.steps, "correct": self.correct, "bytes": self._sizes}
            write_json(self._journal, journal)
        except OSError as error:
            raise self._write_error(error, self._journal.exists()) from None
        self._written = time.monotonic()

    def move_to(self, path: Path) -> None:
        """Replaces ``path`` by the finished folder, after the context has exited."""
        put_in_place(self.folder, path)
        shutil.rmtree(self._work, ignore_errors=True)

    def _remove_others(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for other in self._work.iterdir():
            if other not in (self.folder, self._journal):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        for other in self.folder.iterdir():
            if other.name not in self._arrays:  # a temporary file of a killed process
                other.unlink()

    def _read_journal(self) -> bool:
        """Loads the journal; False if it is missing, damaged, or counts more than the files."""
        try:
            journal = read_json(self._journal)
            sizes = {name: int(journal["bytes"][name]) for name in self._arrays}
            steps, correct = int(journal["steps"]), int(journal["correct"])
            lengths = {name: (self.folder / name).stat().st_size for name in sizes}
        except (ArtefactError, KeyError, TypeError, ValueError, OSError):
            return False
        if any(lengths[name] < size for name, size in sizes.items()):
            return False
        self._sizes, self.steps, self.correct = sizes, steps, correct
        return True

    def _start(self) -> None:
        for name, (dtype, shape) in self._arrays.items():
            descr = np.lib.format.dtype_to_descr(dtype)
            header = {"descr": descr, "fortran_order": False, "shape": shape}
            with (self.folder / name).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                self._sizes[name] = file.tell()

    def _write_error(self, error: OSError, is_kept: bool) -> TrainingError:
        kept = "; finished batches are kept" if is_kept else ""
        return TrainingError(
            self.folder,
            f"the logits cannot be written ({error.strerror}){kept}",
            "free disk space, then run the same command again",
        )

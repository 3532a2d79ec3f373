"""A cache in the making: files that only grow, and a note of how far they are whole.

The note is written after the data it tells of is on disk. So whatever ends the process, the next
one cuts the files off where the note says and goes on from there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError, TrainingError
from pipeline.files import put_in_place, read_json, write_json

NOTE_SECONDS = 2.0
"""From one note to the next: what a killed process may lose."""


@dataclass(frozen=True)
class Layout:
    """What a ``.npy`` file holds once it is finished.

    Attributes:
        dtype: Of its numbers.
        shape: Of its array.
    """

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class Unfinished:
    """Arrays that grow step by step, in the order in which their numbers lie in the file.

    A context: what was done is noted on the way out too, whatever is the reason. Only one process
    at a time may use a folder.

    Args:
        folder: Of the work at hand, outside of what DVC deletes before a stage runs. What other
            inputs left there is removed.
        key: Names the work by all that its bytes follow from.
        layouts: The files, by name.

    Attributes:
        folder: Where the files are.
        steps: How many are done.
        right: Answers that were right in them.
    """

    def __init__(self, folder: Path, key: str, layouts: Mapping[str, Layout]) -> None:
        self.folder = folder / key
        self.steps = 0
        self.right = 0
        self._work = folder
        self._note = folder / f"{key}.json"
        self._layouts = layouts
        self._noted = time.monotonic()
        self._sizes: dict[str, int] = {}
        self._files: dict[str, BinaryIO] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Goes on from what there is, or starts.

        Raises:
            TrainingError: The files cannot be written.
        """
        try:
            self._remove_others()
            if not self._read_note():
                self._start()
            for name, size in self._sizes.items():
                # Unbuffered, so that nothing is left to be written when an error ends the work.
                file = self._open.enter_context((self.folder / name).open("r+b", buffering=0))
                file.truncate(size)
                file.seek(size)
                self._files[name] = file
        except OSError as error:
            raise self._cannot_write(error, is_kept=self._note.exists()) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Notes what is done, and closes the files."""
        with self._open:
            self.note()

    def append(self, blocks: Mapping[str, NDArray[np.generic]], right: int) -> None:
        """Adds what a step came to.

        Args:
            blocks: The next numbers of every file, by its name.
            right: How many of the step's answers were right.

        Raises:
            TrainingError: They cannot be written; what was noted before is kept.
        """
        sizes = dict(self._sizes)
        try:
            for name, block in blocks.items():
                data = np.ascontiguousarray(block).data.cast("B")
                # A step that was interrupted after a part of it begins again at its start.
                self._files[name].seek(sizes[name])
                while data:
                    written = self._files[name].write(data)
                    sizes[name] += written
                    data = data[written:]
        except OSError as error:
            # Noted on the way out of the context, for which a full disk has the room.
            raise self._cannot_write(error, is_kept=self.steps > 0) from None
        self._sizes, self.steps, self.right = sizes, self.steps + 1, self.right + right
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self.note()

    def note(self) -> None:
        """Notes how far the files are whole.

        Raises:
            TrainingError: It cannot be written; what was noted before is kept.
        """
        try:
            for file in self._files.values():
                os.fsync(file.fileno())
            write_json(self._note, {"steps": self.steps, "right": self.right, "bytes": self._sizes})
        except OSError as error:
            raise self._cannot_write(error, is_kept=self._note.exists()) from None
        self._noted = time.monotonic()

    def finish(self, path: Path) -> None:
        """Puts the folder in the place of ``path``, with what was added to it after the context."""
        put_in_place(self.folder, path)
        shutil.rmtree(self._work, ignore_errors=True)

    def _remove_others(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for other in self._work.iterdir():
            if other not in (self.folder, self._note):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        for other in self.folder.iterdir():
            if other.name not in self._layouts:  # half-written when a process was killed
                other.unlink()

    def _read_note(self) -> bool:
        """Takes over what an earlier process noted, unless its files are not even that long."""
        try:
            note = read_json(self._note)
            sizes = {name: int(note["bytes"][name]) for name in self._layouts}
            steps, right = int(note["steps"]), int(note["right"])
            if any((self.folder / name).stat().st_size < size for name, size in sizes.items()):
                return False
        except (ArtefactError, KeyError, TypeError, ValueError, OSError):
            return False
        self._sizes, self.steps, self.right = sizes, steps, right
        return True

    def _start(self) -> None:
        for name, layout in self._layouts.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(layout.dtype),
                "fortran_order": False,
                "shape": layout.shape,
            }
            with (self.folder / name).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                self._sizes[name] = file.tell()

    def _cannot_write(self, error: OSError, *, is_kept: bool) -> TrainingError:
        kept = "; what was done before is kept" if is_kept else ""
        return TrainingError(
            self.folder,
            f"the teacher's answers cannot be written ({error.strerror}){kept}",
            "make room, then run the same command again",
        )

"""What a machine has to offer so that models can be measured on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.measure.host import Host


@dataclass(frozen=True)
class Files:
    """Files that lie on a device as they lie here.

    Attributes:
        folder: What their names begin in.
        names: Paths in the folder, with forward slashes.
    """

    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: Its exit code; a signal's number, negative, where one ended it.
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
    """

    code: int
    stdout: str
    stderr: str


class Device(Protocol):
    """A machine on which models run; whatever fails on its side is a ``DeviceError``."""

    @property
    def name(self) -> str:
        """Its name in ``evaluate.devices``."""

    def describe(self) -> Host:
        """Its stable facts."""

    def place(self, files: Files) -> str:
        """Sees to it that the files are there.

        Returns:
            The folder on the device in which they have their names.
        """

    def run(
        self, arguments: Sequence[str], *, package: str, threads: int, out: Path | None
    ) -> Ended:
        """Runs ``python -m finch_runtime`` in a new process and waits for it.

        Args:
            arguments: Its arguments; paths in them are the device's.
            package: The folder on the device that holds the package.
            threads: Threads of the inference runtime.
            out: If given, the process gets an ``--out`` besides, and what it writes there comes
                here.
        """

"""Interface of a machine that models are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finch_runtime.protocol import Request

from pipeline.measure.host import Host


@dataclass(frozen=True)
class Files:
    """Files that are copied to a device with their relative paths.

    Attributes:
        folder: Local folder.
        names: Paths relative to the folder, with forward slashes.
    """

    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Completed:
    """A completed process.

    Attributes:
        code: Exit code; the negative signal number if a signal ended it.
        stdout: Its standard output.
        stderr: Its standard error.
    """

    code: int
    stdout: str
    stderr: str


class Device(Protocol):
    """A machine that runs models. Its failures raise DeviceError."""

    @property
    def name(self) -> str:
        """Name in ``evaluate.devices``."""

    def describe(self) -> Host:
        """Hardware and software of the device."""

    def place(self, files: Files) -> str:
        """Ensures that the files are on the device, and returns their folder there."""

    def run(self, request: Request, package: str) -> Completed:
        """Runs ``python -m finch_runtime measure`` in a new process, and waits for it.

        Args:
            request: What to measure; its paths are those of the device, except for the path
                ``out`` of a PredictRequest, which is local.
            package: Folder on the device that contains the package ``finch_runtime``.
        """

"""Interface of a device, and this machine as a device."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

from finch_runtime.protocol import Request, to_json

from pipeline.measure.devices.remote_runner import environment
from pipeline.measure.host import Host, describe_host


@dataclass(frozen=True)
class Files:
    """Files that are copied to a device; ``names`` are relative paths with forward slashes."""

    folder: Path
    names: tuple[str, ...]


class Device(Protocol):
    """A machine that runs models. Its failures raise DeviceError; ``name`` is its listed name."""

    name: str

    def describe(self) -> Host:
        """Hardware and software of the device."""

    def place(self, files: Files) -> str:
        """Ensures that the files are on the device, and returns their folder there."""

    def run(self, request: Request, package: str) -> CompletedProcess[str]:
        """Runs ``python -m finch_runtime measure`` in a new process, and waits for it.

        Args:
            request: What to measure; its paths are those of the device, except for the path
                ``out`` of a PredictRequest, which is local.
            package: Folder on the device that contains the package ``finch_runtime``.
        """


class ThisMachine:
    """Runs models with the interpreter and the packages of this process."""

    name = "local"

    def describe(self) -> Host:
        """Hardware and software of this machine."""
        return describe_host()

    def place(self, files: Files) -> str:
        """Returns the folder of the files; nothing is copied."""
        return str(files.folder.resolve())

    def run(self, request: Request, package: str) -> CompletedProcess[str]:
        """Runs the device runtime in a new process."""
        return subprocess.run(
            [sys.executable, "-m", "finch_runtime", "measure"],
            env=environment(os.environ, package, request.threads),
            input=to_json(request),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

"""Interface of a device, and this machine as a device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

from finch_runtime.protocol import Request, to_json

from pipeline.measure.devices import remote_runner
from pipeline.measure.host import Host, describe_host

RUNNER = Path(remote_runner.__file__).read_text(encoding="utf-8")
"""A program for ``python -c``."""


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

        A process that exceeds the time limit of the device is ended, and has failed.

        Args:
            request: What to measure; its paths are those of the device, except for the path
                ``out`` of a PredictRequest, which is local.
            package: Folder on the device that contains the package ``finch_runtime``.
        """


RUN_LIMIT_S = 7200.0
"""Default time limit of a process of the device runtime."""


class ThisMachine:
    """Runs models with the interpreter and the packages of this process.

    Args:
        limit_s: Time limit of a process of the device runtime, in seconds.
    """

    name = "local"

    def __init__(self, limit_s: float = RUN_LIMIT_S) -> None:
        self._limit_s = limit_s

    def describe(self) -> Host:
        """Hardware and software of this machine."""
        return describe_host()

    def place(self, files: Files) -> str:
        """Returns the folder of the files; nothing is copied."""
        return str(files.folder.resolve())

    def run(self, request: Request, package: str) -> CompletedProcess[str]:
        """Runs the device runtime in a new process.

        As on other devices, ``remote_runner`` starts it, and ends it when this process is gone.
        """
        words = run_words(request, package, sys.executable, self._limit_s)
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", RUNNER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the stage handles Ctrl-C
        )
        # Detached from the process, since communicate() would close it, which ends the run.
        stdin, process.stdin = process.stdin, None
        assert stdin is not None
        with process, stdin:
            stdout, stderr = process.communicate()
        output = stdout.partition(remote_runner.BEGIN)[2]
        return read_exit_code(words, process.returncode, output, stderr.decode("utf-8", "replace"))


def run_words(request: Request, package: str, python: str, limit_s: float) -> list[str]:
    """Arguments of ``remote_runner`` that run a request."""
    return ["run", package, str(request.threads), python, to_json(request), str(limit_s)]


def read_exit_code(
    words: Sequence[str], own_code: int, stdout: bytes, stderr: str
) -> CompletedProcess[str]:
    """The finished process of the device runtime, from the output of ``remote_runner``.

    ``own_code`` is the exit code of ``remote_runner`` itself, which counts if it failed.
    """
    text, _, code = stderr.rpartition(f"\n{remote_runner.EXIT_CODE}")
    output = stdout.decode("utf-8", "replace")
    try:
        return CompletedProcess(words, int(code), output, text)
    except ValueError:
        return CompletedProcess(words, own_code or 1, output, stderr)

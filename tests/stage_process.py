"""Runs single stages as a user does, each in a new process that starts at once."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx  # noqa: F401  (the fork server imports this module, so that stages need not)
import openvino  # noqa: F401
import torch  # noqa: F401


@dataclass(frozen=True)
class Ended:
    """A stage's exit code, and the last line on stderr."""

    code: int | None
    line: str


class StageProcesses:
    """Processes forked from one that has done nothing but import."""

    def __init__(self) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])

    def run(self, project: Path, stage: str, *arguments: str) -> Ended:
        """Runs ``finch <stage>`` in a project's folder."""
        with tempfile.NamedTemporaryFile() as errors:
            process = self._processes.Process(
                target=_run, args=(project, stage, arguments, errors.name)
            )
            process.start()
            process.join(300)
            lines = Path(errors.name).read_text().splitlines()
        return Ended(process.exitcode, lines[-1] if lines else "")


def _run(project: Path, stage: str, arguments: tuple[str, ...], errors: str) -> None:
    file = os.open(errors, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(project)
    getattr(importlib.import_module(f"stages.{stage}"), stage)(list(arguments))

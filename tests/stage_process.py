"""Runs single stages as a user does, each in a new process that starts at once."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import tempfile
from pathlib import Path

import onnx  # noqa: F401  (the fork server imports this module, so that stages need not)
import onnxruntime  # noqa: F401
import openvino  # noqa: F401
import scipy.cluster.hierarchy  # noqa: F401
import timm  # noqa: F401
import torch  # noqa: F401


class StageProcesses:
    """Processes forked from one that has done nothing but import."""

    def __init__(self) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])

    def run(self, project: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs ``finch <stage>`` in a project's folder."""
        with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
            process = self._processes.Process(
                target=_run, args=(project, stage, arguments, stdout.name, stderr.name)
            )
            process.start()
            process.join(300)
            if process.exitcode is None:
                process.kill()
                raise TimeoutError(f"{stage} takes more than 300 s")
            texts = [Path(file.name).read_text("utf-8") for file in (stdout, stderr)]
        return subprocess.CompletedProcess([stage, *arguments], process.exitcode, *texts)

    def run_all(self, project: Path, *stages: str) -> None:
        """Runs stages one after the other, all of which must succeed."""
        for stage in stages:
            done = self.run(project, stage)
            assert done.returncode == 0, f"{stage}: {done.stderr}"


def _run(project: Path, stage: str, arguments: tuple[str, ...], stdout: str, stderr: str) -> None:
    for number, name in enumerate((stdout, stderr), start=1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    os.chdir(project)
    getattr(importlib.import_module(f"stages.{stage}"), stage)(list(arguments))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line on stderr."""
    return (done.stderr.splitlines() or [""])[-1]

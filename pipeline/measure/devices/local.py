"""This machine as a device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.measure.devices.device import Ended, Files
from pipeline.measure.devices.remote_runner import environment
from pipeline.measure.host import Host, describe_host


class ThisMachine:
    """Runs models with the interpreter and the packages of this process."""

    name = "local"

    def describe(self) -> Host:
        """Its stable facts."""
        return describe_host()

    def place(self, files: Files) -> str:
        """The files are where they are."""
        return str(files.folder.resolve())

    def run(
        self, arguments: Sequence[str], *, package: str, threads: int, out: Path | None
    ) -> Ended:
        """Runs the device runtime, see ``Device``."""
        given = [] if out is None else ["--out", str(out.resolve())]
        done = subprocess.run(
            [sys.executable, "-m", "finch_runtime", *arguments, *given],
            env=environment(os.environ, package, threads),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

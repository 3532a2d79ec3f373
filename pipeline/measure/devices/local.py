"""This machine as a device."""

from __future__ import annotations

import os
import subprocess
import sys

from finch_runtime.protocol import Request, to_json

from pipeline.measure.devices.device import Completed, Files
from pipeline.measure.devices.remote_runner import environment
from pipeline.measure.host import Host, describe_host


class ThisMachine:
    """Runs models with the interpreter and the packages of this process."""

    name = "local"

    def describe(self) -> Host:
        """Hardware and software of this machine."""
        return describe_host()

    def place(self, files: Files) -> str:
        """Returns the folder of the files; nothing is copied."""
        return str(files.folder.resolve())

    def run(self, request: Request, package: str) -> Completed:
        """Runs the device runtime in a new process."""
        process = subprocess.run(
            [sys.executable, "-m", "finch_runtime", "measure"],
            env=environment(os.environ, package, request.threads),
            input=to_json(request),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return Completed(process.returncode, process.stdout, process.stderr)

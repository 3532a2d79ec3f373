"""Another machine as a device, over OpenSSH."""

from __future__ import annotations

import json
import shlex
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

from finch_runtime.protocol import PredictRequest, Request, to_json

from pipeline.errors import ArtifactError, DeviceError
from pipeline.measure.devices import remote_runner
from pipeline.measure.devices.connection import Connection, connect
from pipeline.measure.devices.device import Device, Files, ThisMachine
from pipeline.measure.host import PACKAGES, Host
from pipeline.params import ListedDevice

_MIN_PYTHON = (3, 9)
_DISK_FULL = ("ENOSPC", "EDQUOT", "[Errno 28]", "[Errno 122]")


@contextmanager
def open_device(listed: ListedDevice) -> Iterator[Device]:
    """Opens an entry of ``evaluate.devices``.

    Files that were copied to the device are removed at the end. After an error they stay, for the
    next attempt.

    Raises:
        DeviceError: The device cannot be reached, or has no suitable Python.
    """
    if listed.host is None:
        yield ThisMachine()
        return
    with connect(listed.name, listed.host, listed.port) as connection:
        device = RemoteDevice(listed, connection)
        yield device
        device.clear()


class RemoteDevice:
    """Runs models with the Python interpreter of another machine.

    Raises:
        DeviceError: It has no Python, or one that is too old.
    """

    def __init__(self, listed: ListedDevice, connection: Connection) -> None:
        self.name = listed.name
        self._listed, self._connection = listed, connection
        self._runner = Path(remote_runner.__file__).read_text(encoding="utf-8")
        self._store: str | None = None
        self._copied: set[str] = set()
        self._check_python()

    def describe(self) -> Host:
        """Hardware and software of the device.

        Raises:
            DeviceError: It has no NumPy.
        """
        facts = json.loads(self._call(["describe", *PACKAGES]).stdout)
        if "numpy" not in facts["packages"]:
            python = self._listed.python
            remedy = f"install it there: {python} -m pip install numpy; or set another `python`"
            raise DeviceError(self.name, f"its {python} has no NumPy", remedy)
        return Host(**facts)

    def place(self, files: Files) -> str:
        """Copies the files, unless the same content is there already.

        Raises:
            ArtifactError: A file cannot be read.
            DeviceError: The device could not receive them.
        """
        store = self._open_store()
        try:
            key = remote_runner.content_key(files.folder, files.names)
        except OSError as error:
            path = Path(error.filename)
            raise ArtifactError(path, f"cannot be read ({error.strerror})") from None
        if key not in self._copied:

            def pack(stream: IO[bytes]) -> None:
                with tarfile.open(fileobj=stream, mode="w|") as archive:
                    for name in files.names:
                        archive.add(files.folder.resolve() / name, name, recursive=False)

            self._call(["receive", store, key], pack)
            self._copied.add(key)
        return f"{store}/{key}"

    def run(self, request: Request, package: str) -> CompletedProcess[str]:
        """Runs the device runtime in a new process, see ``Device.run``."""
        out = f"{self._open_store()}/out"
        sent = replace(request, out=out) if isinstance(request, PredictRequest) else request
        words = [package, str(request.threads), self._listed.python, to_json(sent)]
        output = self._call(["run", *words])
        stderr, _, code = output.stderr.rpartition(f"\n{remote_runner.EXIT_CODE}")
        stdout = output.stdout.decode("utf-8", "replace")
        completed = CompletedProcess(words, int(code.split()[0]), stdout, stderr)
        if completed.returncode and any(sign in stderr for sign in _DISK_FULL):
            raise self._disk_full(stderr)
        if isinstance(request, PredictRequest) and not completed.returncode:
            Path(request.out).write_bytes(self._call(["fetch", out]).stdout)
        return completed

    def clear(self) -> None:
        """Removes the copied files."""
        if self._store is not None:
            self._call(["clear", self._store])
            self._store = None
            self._copied = set()

    def _open_store(self) -> str:
        if self._store is None:
            opened = json.loads(self._call(["open", self._listed.folder or ""]).stdout)
            self._store, self._copied = str(opened["store"]), set(opened["present"])
        return self._store

    def _check_python(self) -> None:
        # A separate program that Python 2 can run as well.
        program = "import sys; print('python %d %d' % sys.version_info[:2])"
        output = self._connection.run(self._quote(["-c", program]))
        words = output.stdout.decode("utf-8", "replace").split()
        python, wanted = self._listed.python, ".".join(map(str, _MIN_PYTHON))
        remedy = f"install Python {wanted} or newer there, or set another `python`"
        if output.returncode or words[-3:-2] != ["python"]:
            problem = f"cannot run {python} ({' '.join(output.stderr.split())})"
            raise DeviceError(self.name, problem, remedy)
        if (int(words[-2]), int(words[-1])) < _MIN_PYTHON:
            raise DeviceError(self.name, f"its {python} is Python {words[-2]}.{words[-1]}", remedy)

    def _call(
        self, words: Sequence[str], write_stdin: Callable[[IO[bytes]], None] | None = None
    ) -> CompletedProcess[Any]:
        """Runs a command of ``remote_runner``."""
        output = self._connection.run(self._quote(["-c", self._runner, *words]), write_stdin)
        _, begin, stdout = output.stdout.partition(remote_runner.BEGIN)
        if not begin or output.returncode:
            last = output.stderr.strip().rpartition("\n")[2]
            reason = last.removeprefix(remote_runner.FAILED).strip()
            if any(sign in reason for sign in _DISK_FULL):
                raise self._disk_full(reason)
            problem = f"cannot {words[0]}: {reason or f'exit code {output.returncode}'}"
            remedy = f"fix this there (ssh {self._connection.target}), and run the stage again"
            raise DeviceError(self.name, problem, remedy)
        return CompletedProcess(words, output.returncode, stdout, output.stderr)

    def _disk_full(self, reason: str) -> DeviceError:
        problem = f"its disk is full ({reason.strip().splitlines()[-1]})"
        remedy = "free disk space, or set another `folder` in evaluate.devices"
        return DeviceError(self.name, problem, f"{remedy}; copied files are in {self._store}")

    def _quote(self, arguments: Sequence[str]) -> str:
        # The remote shell expands `~/` only if it is not quoted.
        home, python = "~/", self._listed.python
        quoted = shlex.quote(python.removeprefix(home))
        return f"{home if python.startswith(home) else ''}{quoted} {shlex.join(arguments)}"

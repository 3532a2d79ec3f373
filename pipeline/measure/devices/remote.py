"""Another machine as a device, over OpenSSH."""

from __future__ import annotations

import base64
import json
import re
import shlex
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

from finch_runtime.errors import last_line, printable
from finch_runtime.protocol import PredictRequest, Request
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtifactError, DeviceError
from pipeline.measure.devices import remote_runner
from pipeline.measure.devices.connection import ANSWER_S, Connection, connect
from pipeline.measure.devices.device import (
    RUN_LIMIT_S,
    RUNNER,
    Device,
    Files,
    ThisMachine,
    read_exit_code,
    run_words,
)
from pipeline.measure.host import PACKAGES, Host, parse_host
from pipeline.params import ListedDevice

_MIN_PYTHON = (3, 9)
_DISK_FULL = ("ENOSPC", "EDQUOT", "[Errno 28]", "[Errno 122]")
# Bytes per second of a slow connection, for the time limit of copies.
_SLOWEST_COPY = 50e3

# Runs a program with arguments. The login shell of the device, which may be csh or fish, parses the
# command: it sees one line, of characters that mean the same to all shells.
_LOADER = (
    "import base64,json,sys,zlib;"
    "p,*w=json.loads(zlib.decompress(base64.b64decode(sys.argv[1])));"
    "sys.argv[1:]=w;exec(p)"
)


@dataclass(frozen=True)
class _Opened:
    """Answer to the command ``open``: the folder of all copies, and the keys of those present."""

    store: str
    present: list[str]


@contextmanager
def open_device(listed: ListedDevice, limit_s: float = RUN_LIMIT_S) -> Iterator[Device]:
    """Opens an entry of ``evaluate.devices``.

    Files that were copied to the device are removed at the end. After an error they stay, for the
    next attempt.

    Args:
        listed: The entry.
        limit_s: Time limit of a process of the device runtime, in seconds.

    Raises:
        DeviceError: The device cannot be reached, or has no suitable Python.
    """
    if listed.host is None:
        yield ThisMachine(limit_s)
        return
    with connect(listed.name, listed.host, listed.port) as connection:
        device = RemoteDevice(listed, connection, limit_s)
        yield device
        device.clear()


class RemoteDevice:
    """Runs models with the Python interpreter of another machine.

    Raises:
        DeviceError: It has no Python, or one that is too old.
    """

    def __init__(
        self, listed: ListedDevice, connection: Connection, limit_s: float = RUN_LIMIT_S
    ) -> None:
        self.name = listed.name
        self._listed, self._connection, self._limit_s = listed, connection, limit_s
        self._store: str | None = None
        self._copied: set[str] = set()
        self._check_python()

    def describe(self) -> Host:
        """Hardware and software of the device.

        Raises:
            DeviceError: It has no NumPy, or its Python is one for which there is no ONNX Runtime.
        """
        output = self._call(["describe", *PACKAGES])
        try:
            host = parse_host(json.loads(output.stdout))
        except (ValueError, RecursionError) as error:
            raise self._unexpected(output, error) from None
        if "numpy" not in host.packages:
            python = self._listed.python
            remedy = f"install it there: {python} -m pip install numpy; or set another `python`"
            raise DeviceError(self.name, f"its {python} has no NumPy", remedy)
        if host.architecture.endswith(remote_runner.NARROW) and "onnxruntime" not in host.packages:
            problem = f"its {self._listed.python} is a 32-bit program, without ONNX Runtime"
            remedy = "install a 64-bit system there: PyPI has no ONNX Runtime for 32-bit ones"
            raise DeviceError(self.name, problem, remedy)
        return host

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

            size = sum((files.folder / name).stat().st_size for name in files.names)
            self._call(["receive", store, key], ANSWER_S + size / _SLOWEST_COPY, pack)
            self._copied.add(key)
        return f"{store}/{key}"

    def run(self, request: Request, package: str) -> CompletedProcess[str]:
        """Runs the device runtime in a new process, see ``Device.run``."""
        out = f"{self._open_store()}/out"
        sent = replace(request, out=out) if isinstance(request, PredictRequest) else request
        words = run_words(sent, package, self._listed.python, self._limit_s)
        output = self._call(words, self._limit_s + ANSWER_S)
        completed = read_exit_code(words, 0, output.stdout, output.stderr)
        if completed.returncode and any(sign in completed.stderr for sign in _DISK_FULL):
            raise self._disk_full(completed.stderr)
        if isinstance(request, PredictRequest) and not completed.returncode:
            Path(request.out).write_bytes(self._call(["fetch", out], self._limit_s).stdout)
        return completed

    def clear(self) -> None:
        """Removes the copied files."""
        if self._store is not None:
            self._call(["clear", self._store])
            self._store = None
            self._copied = set()

    def _open_store(self) -> str:
        if self._store is None:
            output = self._call(["open", self._listed.folder or ""])
            try:
                opened = TypeAdapter(_Opened).validate_json(output.stdout)
            except ValidationError as error:
                raise self._unexpected(output, error) from None
            self._store, self._copied = opened.store, set(opened.present)
        return self._store

    def _check_python(self) -> None:
        # A separate program that Python 2 can run as well.
        program = "import sys; print('python %d %d' % sys.version_info[:2])"
        output = self._connection.run(f"{self._python()} -c {shlex.quote(program)}", ANSWER_S)
        found = re.search(rb"python (\d{1,9}) (\d{1,9})\s*$", output.stdout)
        python, wanted = self._listed.python, ".".join(map(str, _MIN_PYTHON))
        remedy = f"install Python {wanted} or newer there, or set another `python`"
        if output.returncode or not found:
            problem = f"cannot run {python} ({printable(' '.join(output.stderr.split()))})"
            raise DeviceError(self.name, problem, remedy)
        major, minor = map(int, found.groups())
        if (major, minor) < _MIN_PYTHON:
            raise DeviceError(self.name, f"its {python} is Python {major}.{minor}", remedy)

    def _call(
        self,
        words: Sequence[str],
        limit_s: float | None = None,
        write_stdin: Callable[[IO[bytes]], None] | None = None,
    ) -> CompletedProcess[Any]:
        """Runs a command of ``remote_runner``, by default one that computes nothing."""
        command = f"{self._python()} -c {shlex.quote(_LOADER)} {_encode(RUNNER, words)}"
        output = self._connection.run(command, limit_s or ANSWER_S, write_stdin)
        _, begin, stdout = output.stdout.partition(remote_runner.BEGIN)
        if not begin or output.returncode:
            last = output.stderr.strip().rpartition("\n")[2]
            reason = printable(last.removeprefix(remote_runner.FAILED).strip())
            if any(sign in reason for sign in _DISK_FULL):
                raise self._disk_full(reason)
            problem = f"cannot {words[0]}: {reason or f'exit code {output.returncode}'}"
            remedy = f"fix this there (ssh {self._connection.target}), and run the stage again"
            raise DeviceError(self.name, problem, remedy)
        return CompletedProcess(words, output.returncode, stdout, output.stderr)

    def _unexpected(self, output: CompletedProcess[Any], error: Exception) -> DeviceError:
        if isinstance(error, ValidationError):
            detail = error.errors()[0]["msg"]
        else:
            detail = last_line(error)
        problem = f"gave no valid answer to `{output.args[0]}` ({printable(detail)})"
        remedy = f"check its `python`, {self._listed.python} (ssh {self._connection.target})"
        return DeviceError(self.name, problem, remedy)

    def _disk_full(self, reason: str) -> DeviceError:
        problem = f"its disk is full ({printable(reason.strip().splitlines()[-1])})"
        remedy = "free disk space, or set another `folder` in evaluate.devices"
        return DeviceError(self.name, problem, f"{remedy}; copied files are in {self._store}")

    def _python(self) -> str:
        # The remote shell expands `~/` only if it is not quoted.
        home, python = "~/", self._listed.python
        return f"{home if python.startswith(home) else ''}{shlex.quote(python.removeprefix(home))}"


def _encode(program: str, words: Sequence[str]) -> str:
    """The argument of ``_LOADER``: a program and its arguments."""
    return base64.b64encode(zlib.compress(json.dumps([program, *words]).encode())).decode()

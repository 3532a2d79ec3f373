"""A connection to another machine with the system's OpenSSH client, shared by all commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from finch_runtime.errors import printable

from pipeline.errors import DeviceError

_READY = b"finch: ready\n"

# Everything else is taken from the user's own configuration. These options would wait for input,
# run something else, or open ports that are not needed.
_OPTIONS = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": "15",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "10",
}
# Time limit of a login, and of a command that computes nothing, in seconds.
ANSWER_S = 60.0
_CONNECTION_LOST = 255  # exit code of ssh; the remote programs never exit with it

# Pattern in ssh's output, problem, remedy.
_SSH_ERRORS = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key has changed",
        "find out why; if the machine was reinstalled, remove the old key: ssh-keygen -R {address}",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "its host key is unknown",
        "connect once manually and verify the fingerprint: ssh {target}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "it rejects your key, or requires a password",
        "install a key: ssh-copy-id {target}; run ssh-add if the key has a passphrase",
    ),
    (
        r"Could not resolve|Connection refused|timed out|No route|unreachable|Connection closed",
        "cannot be reached ({reason})",
        "switch it on, or correct evaluate.devices; this must work: ssh {target}",
    ),
)


class Connection:
    """Runs commands on another machine, over the shared connection at ``socket``.

    ``host`` and ``port`` are those of ``evaluate.devices``; ``name`` is used in messages.
    """

    def __init__(self, name: str, host: str, port: int | None, socket: Path) -> None:
        self.name = name
        self._host = host
        self._port = [] if port is None else ["-p", str(port)]
        self._socket = socket

    @property
    def target(self) -> str:
        """Arguments of ``ssh`` that connect to the machine manually."""
        return " ".join([*self._port, self._host])

    def run(
        self,
        command: str,
        limit_s: float,
        write_stdin: Callable[[IO[bytes]], None] | None = None,
    ) -> subprocess.CompletedProcess[Any]:
        """Runs a command of a POSIX shell; returns its stdout as bytes, its stderr as text.

        The standard input is closed after ``write_stdin``. By default it is empty, and stays open
        until the command ends.

        Raises:
            DeviceError: The connection was lost, or the command took more than ``limit_s`` seconds.
        """
        process = self.start("no", command, subprocess.PIPE)
        # Detached from the process, since communicate() would close it.
        stdin, process.stdin = process.stdin, None
        assert stdin is not None
        with process, stdin, _killed_after(limit_s, process) as expired:
            try:
                if write_stdin is not None:
                    with suppress(BrokenPipeError), stdin:  # stderr has the reason
                        write_stdin(stdin)
                stdout, stderr = process.communicate()
            except BaseException:
                process.kill()
                raise
        if expired.is_set():
            raise self._silent(limit_s)
        text = stderr.decode("utf-8", "replace")
        if process.returncode == _CONNECTION_LOST:
            remedy = "check the device and run the stage again: finished devices are kept"
            raise DeviceError(self.name, f"the connection was lost ({_last_line(text)})", remedy)
        return subprocess.CompletedProcess(command, process.returncode, stdout, text)

    def start(self, master: str, command: str, stderr: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Starts ssh with a command; ``master`` is ``yes`` for the shared connection."""
        options = {**_OPTIONS, "ControlMaster": master, "ControlPath": str(self._socket)}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return subprocess.Popen(
            ["ssh", *words, *self._port, "--", self._host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # the stage handles Ctrl-C
        )

    def _silent(self, limit_s: float) -> DeviceError:
        problem = f"did not answer within {limit_s:.0f} seconds"
        remedy = f"check the device, and the `python` of evaluate.devices: ssh {self.target}"
        return DeviceError(self.name, problem, remedy)

    def wait_until_ready(self, process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        """Waits until the shared connection returns its input.

        Raises:
            DeviceError: There is no connection, or login scripts wait for something.
        """
        assert process.stdin and process.stdout
        with _killed_after(ANSWER_S, process) as expired:
            with suppress(BrokenPipeError):
                process.stdin.write(_READY)
                process.stdin.flush()
            # The output of login scripts comes first.
            if any(line.endswith(_READY) for line in process.stdout):
                return
            process.wait()
        if expired.is_set():
            raise self._silent(ANSWER_S)
        stderr.seek(0)
        raise self.explain(stderr.read().decode("utf-8", "replace"))

    def explain(self, stderr: str) -> DeviceError:
        """The error of an ssh that could not connect, from its output."""
        texts = {
            "reason": _last_line(stderr),
            "target": self.target,
            "address": self._host.rpartition("@")[2],
        }
        for pattern, problem, remedy in _SSH_ERRORS:
            if re.search(pattern, stderr):
                return DeviceError(self.name, problem.format(**texts), remedy.format(**texts))
        return DeviceError(self.name, f"ssh failed: {texts['reason']}", f"try ssh {self.target}")


@contextmanager
def connect(name: str, host: str, port: int | None) -> Iterator[Connection]:
    """Connects for the duration of the block, without prompts.

    Raises:
        DeviceError: There is no connection; the message has the remedy.
    """
    # The path of a socket is limited to about 100 bytes, so it is directly below /tmp.
    with (
        tempfile.TemporaryDirectory(prefix="finch-", dir="/tmp") as folder,
        tempfile.TemporaryFile() as stderr,
    ):
        connection = Connection(name, host, port, Path(folder, "ssh"))
        try:
            # `cat` returns its input, and ends when its standard input is closed.
            process = connection.start("yes", "cat", stderr)
        except FileNotFoundError:
            problem, remedy = "needs the OpenSSH client", "install openssh-client here"
            raise DeviceError(name, problem, remedy) from None
        try:
            connection.wait_until_ready(process, stderr)
            yield connection
        finally:
            process.kill()
            process.communicate()


@contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kills a process group that runs longer than the block may; yields whether it did."""
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        # The group, since a ProxyCommand could hold the pipes open.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return printable(lines[-1].strip()) if lines else "ssh printed nothing"

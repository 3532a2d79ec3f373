"""A connection to another machine by the system's OpenSSH client, shared by all commands."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import DeviceError

_READY = b"finch: ready\n"

# The user's own configuration counts for everything else. What is named here would wait for
# somebody at a keyboard, run something else, or open ports that are none of our business.
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
_LOST = 255  # ssh's own code; the programs that run there never end with it

_REFUSALS = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known",
        "find out why; if it was set up anew, forget the old key: ssh-keygen -R {where}",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "its host key is unknown",
        "connect once by hand and compare the fingerprint: ssh {line}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "it wants a password, or does not take your key",
        "let it take a key that needs no typing: ssh-copy-id {line}, and ssh-add where the key has "
        "a passphrase",
    ),
    (
        r"Could not resolve|Connection refused|timed out|No route|unreachable|Connection closed",
        "cannot be reached ({words})",
        "switch it on, or correct evaluate.devices; this must work: ssh {line}",
    ),
)


@dataclass(frozen=True)
class Answer:
    """What a command said; ``code`` is its exit code."""

    code: int
    stdout: bytes
    stderr: str


class Connection:
    """Runs commands on another machine.

    Args:
        name: The device, for messages.
        host: ``user@host``, or a name of the user's ssh configuration.
        port: None is what ssh takes by itself.
        socket: Where the shared connection listens.
    """

    def __init__(self, name: str, host: str, port: int | None, socket: Path) -> None:
        self.name = name
        self._host = host
        self._port = [] if port is None else ["-p", str(port)]
        self._socket = socket

    @property
    def by_hand(self) -> str:
        """What a person types after ``ssh`` to get there."""
        return " ".join([*self._port, self._host])

    def run(self, command: str, feed: Callable[[IO[bytes]], None] | None = None) -> Answer:
        """Runs a command line of the shell there.

        Args:
            command: Quoted for a POSIX shell.
            feed: Writes its standard input, which otherwise is open, and empty, till the end.

        Raises:
            DeviceError: The connection was lost.
        """
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as stdin:
            try:
                process = subprocess.Popen(
                    self._line("no", command),
                    stdin=reader,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the stage to deal with
                )
            finally:
                os.close(reader)
            with process:
                try:
                    if feed is not None:
                        with suppress(BrokenPipeError):  # then it says why
                            feed(stdin)
                            stdin.flush()
                        with suppress(BrokenPipeError):
                            stdin.close()
                    stdout, stderr = process.communicate()
                except BaseException:
                    process.kill()
                    raise
        said = stderr.decode("utf-8", "replace")
        if process.returncode == _LOST:
            raise self._lost(said)
        return Answer(process.returncode, stdout, said)

    def hold(self) -> subprocess.Popen[bytes]:
        """Starts the process that holds the shared connection; it ends with this process.

        Raises:
            DeviceError: There is no connection, or no ssh.
        """
        with tempfile.TemporaryFile() as words:
            try:
                # It sends back what it gets, and ends when there is nobody to send any more.
                process = subprocess.Popen(
                    self._line("yes", "cat"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=words,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise DeviceError(
                    self.name, "needs the OpenSSH client", "install it here: openssh-client"
                ) from None
            assert process.stdin and process.stdout
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(_READY)
                    process.stdin.flush()
                for line in process.stdout:  # a login script may speak first
                    if line.endswith(_READY):
                        return process
                process.wait()
            except BaseException:
                process.kill()
                raise
            words.seek(0)
            raise self._refused(words.read().decode("utf-8", "replace"))

    def _line(self, master: str, command: str) -> list[str]:
        options = {**_OPTIONS, "ControlMaster": master, "ControlPath": str(self._socket)}
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", *given, *self._port, "--", self._host, command]

    def _refused(self, said: str) -> DeviceError:
        words = _last_line(said) or "ssh said nothing"
        where = self._host.rpartition("@")[2]
        for pattern, problem, remedy in _REFUSALS:
            if re.search(pattern, said):
                texts = {"words": words, "line": self.by_hand, "where": where}
                return DeviceError(self.name, problem.format(**texts), remedy.format(**texts))
        return DeviceError(self.name, f"cannot be used: {words}", f"try ssh {self.by_hand}")

    def _lost(self, said: str) -> DeviceError:
        return DeviceError(
            self.name,
            f"the connection was lost ({_last_line(said) or 'without a word'})",
            "see that it is still on, and run the stage again: finished devices are kept",
        )


@contextmanager
def connect(name: str, host: str, port: int | None) -> Iterator[Connection]:
    """Connects, for as long as the block lasts, without ever asking anybody anything.

    Raises:
        DeviceError: There is no connection; the message says what to do.
    """
    # A socket's path may have no more than about 100 bytes, so it lies right below /tmp.
    with tempfile.TemporaryDirectory(prefix="finch-", dir="/tmp") as folder:
        connection = Connection(name, host, port, Path(folder, "ssh"))
        holder = connection.hold()
        try:
            yield connection
        finally:
            holder.kill()
            holder.communicate()


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""

"""A local OpenSSH server, and a client that trusts it."""

from __future__ import annotations

import base64
import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

# Login shells with a syntax of their own, and those without programs of GNU.
LOGIN_SHELLS = {"csh": "tcsh", "fish": "fish", "ash": "busybox ash"}

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


class Server:
    """An ``sshd``, and a client configuration with a host name per kind of login."""

    def __init__(self, folder: Path) -> None:
        for key in ("host", "user", "talkative", "stranger", *LOGIN_SHELLS):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
            )
        allowed = (folder / "user.pub").read_text()
        # Prints a line, as a login script may.
        greet = 'command="echo Welcome.; eval \\"$SSH_ORIGINAL_COMMAND\\"" '
        allowed += greet + (folder / "talkative.pub").read_text()
        for key, shell in LOGIN_SHELLS.items():
            forced = f'command="exec {shell} -c \\"$SSH_ORIGINAL_COMMAND\\"" '
            allowed += forced + (folder / f"{key}.pub").read_text()
        (folder / "authorized").write_text(allowed)
        self.port = _free_port()
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nMaxStartups 100\n"
        )
        host = " ".join((folder / "host.pub").read_text().split()[:2])
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {host}\n")
        other = " ".join((folder / "user.pub").read_text().split()[:2])
        (folder / "changed").write_text(f"[127.0.0.1]:{self.port} {other}\n")
        (folder / "unknown").touch()

        def alias(name: str, port: int, key: str = "user", known: str = "known") -> str:
            return (
                f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
                f"  IdentityFile {folder}/{key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
                f"  UserKnownHostsFile {folder}/{known}\n  GlobalKnownHostsFile /dev/null\n"
            )

        (folder / "ssh_config").write_text(
            alias("pi", self.port)
            + alias("elsewhere", 1)
            + alias("talkative", self.port, key="talkative")
            + "".join(alias(key, self.port, key=key) for key in LOGIN_SHELLS)
            + alias("password", self.port, key="stranger")
            + alias("unknown", self.port, known="unknown")
            + alias("changed", self.port, known="changed")
        )
        self.log = folder / "ssh.log"
        self.log.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        # A client that reads this configuration instead of the user's.
        write_script(
            self.bin / "ssh",
            f'printf "%s\\n" "$*" >> {self.log}\n'
            f'exec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n',
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [str(SSHD), "-D", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL
        )
        _wait_for(self.port)

    def copies(self) -> int:
        """Number of copies that were sent."""
        return sum(words[:1] == ["receive"] for words in self._commands())

    def _commands(self) -> Iterator[list[str]]:
        """Arguments of the program that manages files and processes, per call."""
        for line in self.log.read_text().splitlines():
            last = line.rpartition(" ")[2]
            if "zlib" in line:
                _, *words = json.loads(zlib.decompress(base64.b64decode(last)))
                yield words


def write_script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


def write_python(path: Path, first: Path) -> str:
    """Writes an interpreter that searches a folder for packages first."""
    return write_script(
        path,
        f"export PYTHONPATH={shlex.quote(str(first))}:$PYTHONPATH\n"
        f'exec {shlex.quote(sys.executable)} "$@"\n',
    )


def write_dropping_python(path):
    """Writes an interpreter that kills its connection when it is started to run a model."""
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "def about(pid):\n"
        "    name, _, rest = open(f'/proc/{pid}/stat').read().partition('(')[2].rpartition(')')\n"
        "    return name, int(rest.split()[1])\n"
        "pid = os.getppid()\n"
        "while 'finch_runtime' in sys.argv:\n"
        "    name, parent = about(pid)\n"
        "    if name.startswith('sshd'):\n"
        "        os.kill(pid, 9)\n"
        "        break\n"
        "    pid = parent\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    path.chmod(0o755)
    return str(path)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")

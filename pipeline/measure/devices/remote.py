"""Another machine as a device."""

from __future__ import annotations

import json
import shlex
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.errors import ArtefactError, DeviceError
from pipeline.files import whole_file
from pipeline.measure.devices import remote_runner
from pipeline.measure.devices.connection import Answer, Connection
from pipeline.measure.devices.device import Ended, Files
from pipeline.measure.host import Host, as_ranges, read_cpuinfo, vector_flags
from pipeline.params import ListedDevice

_OLDEST = (3, 9)
_FULL = ("ENOSPC", "EDQUOT", "[Errno 28]", "[Errno 122]")


class RemoteDevice:
    """Runs models with the interpreter of another machine.

    Args:
        listed: How it is listed.
        connection: Leads there.

    Raises:
        DeviceError: It has no Python, or too old a one.
    """

    def __init__(self, listed: ListedDevice, connection: Connection) -> None:
        self._listed = listed
        self._connection = connection
        self._agent = Path(remote_runner.__file__).read_text(encoding="utf-8")
        self._store: str | None = None
        self._present: set[str] = set()
        self._check_python()

    @property
    def name(self) -> str:
        """Its name in ``evaluate.devices``."""
        return self._listed.name

    def describe(self) -> Host:
        """Its stable facts.

        Raises:
            DeviceError: It has no NumPy.
        """
        facts = self._ask("describe")
        versions = dict(facts["versions"])
        if versions.pop("numpy", None) is None:
            raise DeviceError(
                self.name,
                f"its {self._listed.python} has no NumPy",
                f"install it there: {self._listed.python} -m pip install numpy; "
                "or name another `python`",
            )
        cpu, flags = read_cpuinfo(facts["cpuinfo"])
        return Host(
            cpu=cpu,
            architecture=facts["architecture"],
            flags=vector_flags(flags),
            physical_cores=facts["physical_cores"],
            logical_cores=facts["logical_cores"],
            affinity=as_ranges(set(facts["affinity"])),
            memory_gib=round(facts["memory_bytes"] / 2**30),
            system=f"{facts['system']} {'.'.join(facts['release'].split('.')[:2])}",
            python=facts["python"],
            runtimes=versions,
            governor=facts["governor"],
        )

    def place(self, files: Files) -> str:
        """Copies the files, unless there are some of the same content.

        Raises:
            ArtefactError: One of them cannot be read.
            DeviceError: It could not take them.
        """
        store = self._open()
        try:
            key = remote_runner.content_key(files.folder, files.names)
        except OSError as error:
            raise ArtefactError(
                Path(error.filename), f"cannot be read ({error.strerror})"
            ) from None
        if key not in self._present:

            def pack(stream: IO[bytes]) -> None:
                with tarfile.open(fileobj=stream, mode="w|") as archive:
                    for name in files.names:
                        archive.add(files.folder.resolve() / name, name, recursive=False)

            self._call(["receive", store, key], pack)
            self._present.add(key)
        return f"{store}/{key}"

    def run(
        self, arguments: Sequence[str], *, package: str, threads: int, out: Path | None
    ) -> Ended:
        """Runs the device runtime, see ``Device``."""
        written = f"{self._open()}/out"
        given = [] if out is None else ["--out", written]
        words = ["run", package, str(threads), self._listed.python, *arguments, *given]
        answer = self._call(words)
        said, _, code = answer.stderr.rpartition(f"\n{remote_runner.ENDED}")
        ended = Ended(int(code.split()[0]), answer.stdout.decode("utf-8", "replace"), said)
        if ended.code and any(sign in said for sign in _FULL):
            raise self._full(said)
        if out is not None and not ended.code:
            content = self._call(["bring", written]).stdout
            with whole_file(out) as temporary:
                temporary.write_bytes(content)
        return ended

    def clear(self) -> None:
        """Removes what was copied."""
        if self._store is not None:
            self._call(["clear", self._store])
            self._store = None
            self._present = set()

    def _open(self) -> str:
        if self._store is None:
            opened = self._ask("open", self._listed.folder or "")
            self._store, self._present = opened["store"], set(opened["present"])
        assert self._store is not None
        return self._store

    def _check_python(self) -> None:
        # By itself, and so that even Python 2 can answer.
        program = "import sys; print('python %d %d' % sys.version_info[:2])"
        answer = self._connection.run(self._quoted(["-c", program]))
        words = answer.stdout.decode("utf-8", "replace").split()
        python = self._listed.python
        wanted = ".".join(map(str, _OLDEST))
        remedy = f"install Python {wanted} or newer there, or name another `python`"
        if answer.code or words[-3:-2] != ["python"]:
            problem = f"{python} does not start there ({' '.join(answer.stderr.split())})"
            raise DeviceError(self.name, problem, remedy)
        found = (int(words[-2]), int(words[-1]))
        if found < _OLDEST:
            version = ".".join(map(str, found))
            raise DeviceError(self.name, f"its {python} is Python {version}", remedy)

    def _ask(self, *words: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._call(words).stdout)
        return answer

    def _call(
        self, words: Sequence[str], feed: Callable[[IO[bytes]], None] | None = None
    ) -> Answer:
        answer = self._connection.run(self._quoted(["-c", self._agent, *words]), feed)
        _, begun, stdout = answer.stdout.partition(remote_runner.BEGIN)
        if not begun or answer.code:
            said = (
                answer.stderr.strip().rpartition("\n")[2].removeprefix(remote_runner.FAILED).strip()
            )
            if any(sign in said for sign in _FULL):
                raise self._full(said)
            raise DeviceError(
                self.name,
                f"cannot {words[0]}: {said or f'code {answer.code}'}",
                f"mend that there (ssh {self._connection.by_hand}), and run the stage again",
            )
        return Answer(answer.code, stdout, answer.stderr)

    def _full(self, said: str) -> DeviceError:
        return DeviceError(
            self.name,
            f"its disk is full ({said.strip().rpartition(chr(10))[2]})",
            f"make room there, or name another `folder` for it in evaluate.devices; "
            f"what was copied lies in {self._store}",
        )

    def _quoted(self, arguments: Sequence[str]) -> str:
        # The shell there takes `~/` for the home folder as long as it is not quoted.
        home, rest = "~/", self._listed.python
        if rest.startswith(home):
            python = home + shlex.quote(rest.removeprefix(home))
        else:
            python = shlex.quote(rest)
        return f"{python} {shlex.join(arguments)}"

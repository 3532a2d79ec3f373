"""Runs the parts one after the other, each in processes of its own and with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from .finding import Finding, read_findings

Status = Literal["done", "failed", "time limit"]


@dataclass(frozen=True)
class Outcome:
    """How a part ended.

    Attributes:
        part: Name of the part.
        status: ``failed`` if its process had an exit status other than 0.
        seconds: Duration.
        limit: Time limit in seconds.
        findings: What it found, also before it failed or was ended.
        problem: The last line that it printed if it failed, else empty.
    """

    part: str
    status: Status
    seconds: float
    limit: float
    findings: list[Finding]
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether the part is done and every target is met."""
        return self.status == "done" and all(found.met is not False for found in self.findings)


def run_parts(
    shares: Mapping[str, float],
    seconds: float,
    folder: Path,
    command: Callable[[str], Sequence[str]],
    on_outcome: Callable[[list[Outcome]], None],
) -> list[Outcome]:
    """Runs all parts, also after one that fails.

    Args:
        shares: Relative duration of every part, by name. Time that a part leaves goes to the
            later ones.
        seconds: Time limit of all parts together.
        folder: Gets ``NAME.jsonl`` with the findings and ``NAME.log`` with the output of each part.
        command: The command of a part, given its name.
        on_outcome: Called after each part with all outcomes so far.
    """
    ends, outcomes = time.monotonic() + seconds, list[Outcome]()
    left = dict(shares)
    for part in shares:
        rest = max(0.0, ends - time.monotonic())
        limit = rest * left[part] / sum(left.values())
        del left[part]
        outcomes.append(_run_part(part, limit, folder, command(part)))
        on_outcome(outcomes)
    return outcomes


def _run_part(part: str, limit: float, folder: Path, command: Sequence[str]) -> Outcome:
    found, log = folder / f"{part}.jsonl", folder / f"{part}.log"
    found.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        # A session of its own, whose processes can be ended together.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        status: Status
        try:
            status = "failed" if process.wait(limit) else "done"
        except subprocess.TimeoutExpired:
            status = "time limit"
        finally:
            _end_session(process)
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    problem = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    return Outcome(
        part,
        status,
        time.monotonic() - began,
        limit,
        read_findings(found),
        problem if status == "failed" else "",
    )


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of a process and of those that it started."""
    with suppress(psutil.NoSuchProcess):
        # torchrun gives its processes sessions of their own.
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Commands whose standard streams are closed or full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Path]


def test_a_closed_output_is_not_an_error(make_bundle: Make, photos: list[Path]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "finch_runtime", "classify", str(photos[0])],
        cwd=make_bundle(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == b""


def start(folder: Path, *arguments: object, closed: str = "", **streams: Any) -> Any:
    """Runs a command through the shell, which can close standard streams (``>&-``)."""
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "finch_runtime"]
    line += map(str, arguments)
    return subprocess.run(line, cwd=folder, timeout=60, check=False, **streams)


COMMANDS = (
    ("classify", "{photo}"),
    ("classify", "{photo}", "--json"),
    ("bench", "{photo}", "--runs", "3", "--warmup-seconds", "0", "--throughput-seconds", "0"),
    ("--help",),
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # fails when it is flushed, or when written
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_is_one_line(
    make_bundle: Make,
    photos: list[Path],
    command: tuple[str, ...],
    unbuffered: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    arguments = [word.format(photo=photos[0]) for word in command]
    with Path("/dev/full").open("w") as full:
        done = start(make_bundle(), *arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("finch_runtime: standard output: cannot be written: No space left")


def test_a_closed_standard_output_is_one_line(make_bundle: Make, photos: list[Path]) -> None:
    done = start(make_bundle(), "classify", photos[0], closed=">&-", stderr=subprocess.PIPE)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("finch_runtime: standard output: is closed")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&-"])
def test_problems_do_not_need_standard_error(
    make_bundle: Make, photos: list[Path], closed: str
) -> None:
    names = [photos[0], photos[0].with_name("missing.png")]
    done = start(make_bundle(), "classify", *names, "--json", closed=closed, capture_output=True)
    assert done.returncode == 2
    assert [result["image"] for result in json.loads(done.stdout)] == [str(photos[0])]
    assert b"missing.png" not in done.stdout.replace(b'"image"', b"")


def test_a_closed_standard_input_is_no_request(make_bundle: Make) -> None:
    done = start(make_bundle(), "measure", closed="<&-", capture_output=True)
    assert done.returncode == 2 and b"standard input: is closed" in done.stderr
    assert done.stderr.count(b"\n") == 1

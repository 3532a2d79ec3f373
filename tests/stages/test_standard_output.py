"""Commands whose standard output is on a full disk, or is read by nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (("--help",), ("--version",), ("params",), ("params", "--help"), ("presets", "list"))
PROJECT = Path(__file__).parents[2]


def start(command, unbuffered, stdout):
    line = [sys.executable, "-c", "from stages.app import main; main()", *command]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        line, stdout=stdout, stderr=subprocess.PIPE, cwd=PROJECT, env=environment, check=False
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # fails when it is flushed, or when written
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_is_one_line(command, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = start(command, unbuffered, full)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("finch")
    assert ": standard output: cannot be written: No space left" in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_nobody_reads_is_not_an_error(command, unbuffered):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = start(command, unbuffered, write_end)
    os.close(write_end)
    assert done.stderr == b""

"""Standard output and error: printable lines, also where a stream is closed or its disk full."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from finch_runtime.errors import RuntimeProblem, printable

_NAME = "standard output"


def prepare() -> None:
    """Call once, before any file is opened.

    Raises:
        RuntimeProblem: Standard output is closed.
    """
    # The next file that is opened would get the number of a closed stream, and what is printed.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        raise RuntimeProblem(_NAME, "is closed", "redirect it to a file")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without Unicode


def say(*lines: str) -> None:
    """Prints lines to standard output.

    Raises:
        RuntimeProblem: They cannot be written, for example because the disk is full.
        BrokenPipeError: The reader has closed the output.
    """
    for line in lines:
        _write(printable(line) + "\n")


def flush() -> None:
    """Ensures that everything has been written; raises the errors of ``say``."""
    _write("")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        if not text:
            sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise
    except OSError as error:
        discard(sys.stdout)
        problem = f"cannot be written: {error.strerror}"
        raise RuntimeProblem(_NAME, problem, "redirect it elsewhere") from None


def complain(problem: RuntimeProblem) -> None:
    """Prints a problem to standard error, if there is one."""
    _complain(str(problem))


def warn(text: str) -> None:
    """Prints a warning to standard error, if there is one."""
    _complain(f"warning: {printable(text)}")


def _complain(line: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"finch_runtime: {line}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Lets a stream that cannot be written end nowhere: Python flushes it again at exit."""
    with suppress(OSError, ValueError):
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)

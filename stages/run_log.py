"""The log file of one run of a stage, in ``.finch/logs/``."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from finch_runtime.errors import printable

from stages.console import PrintableFormatter

_KEPT = 20
"""Log files that are kept of each stage."""


class _File(logging.FileHandler):
    """A full disk must not stop a stage, or print more than the stage's own error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Does nothing."""


def open_run_log(folder: Path, stage: str) -> logging.Handler | None:
    """Opens a new file and removes the oldest ones; None if the folder cannot be written.

    The file has everything that a stage logs, with times, and the output of libraries.
    """
    name = f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = _File(folder / name, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    runs = sorted(folder.glob(f"{stage}-[0-9]*.log"))
    for old in runs[:-_KEPT]:
        with suppress(OSError):
            old.unlink()
    return handler


def log_failure(message: str) -> None:
    """Writes an error with its traceback to the file only; the terminal shows one line."""
    record = logging.LogRecord("finch", logging.ERROR, "", 0, message, None, sys.exc_info())
    for handler in logging.getLogger("finch").handlers:
        if isinstance(handler, _File):
            handler.handle(record)


def describe_run(log: logging.Logger) -> None:
    """Logs the command line and versions, for the file and ``--verbose``."""
    try:
        version = metadata.version("finch-edge")
    except metadata.PackageNotFoundError:
        version = "not installed"
    log.debug("%s", printable(" ".join(sys.argv)))
    python = f"Python {platform.python_version()} on {platform.platform(terse=True)}"
    log.debug("finch-edge %s, %s", version, python)

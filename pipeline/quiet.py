"""Libraries that talk on the terminal, made to talk to the log."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast


@contextlib.contextmanager
def quiet(log: logging.Logger) -> Iterator[None]:
    """Turns what this thread writes to stdout and stderr into one debug message of ``log``.

    What other threads write, such as the one that refreshes a progress bar, goes on to the
    terminal.
    """
    said = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(cast(io.StringIO, _Split(said, sys.stdout))),
            contextlib.redirect_stderr(cast(io.StringIO, _Split(said, sys.stderr))),
        ):
            yield
    finally:
        if text := said.getvalue().strip():
            log.debug("%s", text)


class _Split:
    """One stream to the thread that made it, another to all others."""

    def __init__(self, mine: object, others: object) -> None:
        self._streams = {threading.get_ident(): mine}
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams.get(threading.get_ident(), self._others), name)

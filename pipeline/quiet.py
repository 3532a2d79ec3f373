"""Redirects the terminal output of libraries to the log."""

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
    """Logs stdout and stderr of this thread as one debug message.

    Output of other threads, such as one that refreshes a progress bar, is not redirected.
    """
    output = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(cast(io.StringIO, _Split(output, sys.stdout))),
            contextlib.redirect_stderr(cast(io.StringIO, _Split(output, sys.stderr))),
        ):
            yield
    finally:
        if text := output.getvalue().strip():
            log.debug("%s", text)


class _Split:
    """A stream that is ``mine`` in the thread that created it, and ``others`` in all others."""

    def __init__(self, mine: object, others: object) -> None:
        self._streams = {threading.get_ident(): mine}
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams.get(threading.get_ident(), self._others), name)

"""Progress where the output is no terminal: a line every so often, with the time left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sized

from pipeline.progress import Item

EVERY_S = 30.0


def track_in_lines(
    items: Iterable[Item], description: str, total: int | None, log: logging.Logger
) -> Iterator[Item]:
    """Yields the items, and logs a line every ``EVERY_S`` seconds, also while one of them runs."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    start, done, finished = time.monotonic(), 0, threading.Event()

    def report() -> None:
        while not finished.wait(EVERY_S):
            log.info("%s", progress_line(description, done, total, time.monotonic() - start))

    threading.Thread(target=report, daemon=True).start()
    try:
        for item in items:
            yield item
            done += 1
    finally:
        finished.set()


def progress_line(description: str, done: int, total: int | None, elapsed_s: float) -> str:
    """Such as ``classifying: 3 of 8 after 90 s, about 3 min left``."""
    of_total = "" if total is None else f" of {total}"
    line = f"{description}: {done}{of_total} after {_duration(elapsed_s)}"
    if total is None or not done:
        return line
    return f"{line}, about {_duration(elapsed_s / done * (total - done))} left"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

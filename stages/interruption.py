"""Interruption by SIGINT or SIGTERM, at once or after a training step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pipeline.errors import Stopped
from pipeline.training.process_rank import read_process_rank

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal, and a message about what is kept."""

    def __init__(self, number: int, kept: str = "") -> None:
        self.number, self.kept = number, kept


def raise_interrupts() -> None:
    """Makes both signals raise ``Interrupted``."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


@contextmanager
def between_steps(
    finished: str = "training is finished and kept, but its results were not written",
) -> Iterator[Callable[[], bool]]:
    """Delays an interrupt until the running step is complete.

    Yields a function that returns whether an interrupt is pending. A second interrupt is not
    delayed, except in distributed training, where the launcher sets the timeout. ``finished`` is
    the message if the work is complete before it can stop.
    """
    numbers: list[int] = []
    is_alone = read_process_rank().world_size == 1

    def remember(number: int, frame: FrameType | None) -> None:
        if numbers and is_alone:
            raise Interrupted(number, "what was saved before is kept")
        numbers.append(number)

    for number in _SIGNALS:
        signal.signal(number, remember)
    kept = finished
    try:
        yield lambda: bool(numbers)
    except Stopped as stopped:
        numbers.append(signal.SIGTERM)  # has an effect if only another process was interrupted
        kept = stopped.kept
    finally:
        raise_interrupts()
    if numbers:
        raise Interrupted(numbers[0], kept)

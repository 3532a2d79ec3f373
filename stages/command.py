"""What all stages have in common: options, lock, signals, and errors as one line."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import filelock
from finch_runtime.telemetry import turn_off

from pipeline.errors import ArtefactError, FinchError, Stopped
from pipeline.params import Params, load_params
from pipeline.training.process_rank import read_process_rank
from stages.console import open_log
from stages.launch import is_asked_for, launch, leave_words
from stages.workspace import Workspace

# Here, because every stage imports this file before it imports a runtime that would report home.
turn_off()


@dataclass(frozen=True)
class Context:
    """What a stage gets: parameters, places, and a log."""

    params: Params
    place: Workspace
    log: logging.Logger


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Interrupted(BaseException):
    def __init__(self, number: int, kept: str = "") -> None:
        self.number = number
        self.kept = kept


def stage(
    *,
    reads: str,
    writes: str,
    resumable: bool = False,
    alone: bool = False,
    together: bool = False,
    takes: Sequence[click.Parameter] = (),
) -> Callable[[Callable[..., None]], click.Command]:
    """Turns a function into a stage's command.

    A stage that fails or is interrupted exits with a non-zero code, so that DVC does not take
    what is there for a result: 1 after an error, 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        reads: What the stage reads, for ``--help``.
        writes: What it writes, for ``--help``.
        resumable: It keeps what is done, goes on from there, and may run several times side by
            side; any other stage refuses a second process in the same folder.
        alone: It refuses one although it is resumable.
        together: Several processes can do it together, see ``stages.launch``.
        takes: What can be said besides; the function gets it by name, after the context.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        name = function.__name__

        @functools.wraps(function)
        def run(
            params_path: Path, overrides: tuple[str, ...], debug: bool, **chosen: object
        ) -> None:
            call = functools.partial(function, **chosen)
            if together and is_asked_for():
                launch(name, _arguments(params_path, overrides, debug))
            _run(name, call, params_path, overrides, debug, resumable, alone or not resumable)

        about = inspect.cleandoc(function.__doc__ or "")
        run.__doc__ = f"{about}\n\n\b\nReads:  {reads}\nWrites: {writes}\n"
        command = click.command(name=name.replace("_", "-"))(run)
        command.params = [
            *takes,
            click.Option(
                ["--params", "params_path"],
                type=click.Path(path_type=Path),
                default=Path("params.yaml"),
                show_default=True,
                help="Parameter file.",
            ),
            click.Option(
                ["--set", "overrides"],
                multiple=True,
                metavar="KEY=VALUE",
                help="Override one parameter, such as distill.figkd.weight=2; repeatable.",
            ),
            click.Option(["--debug"], is_flag=True, help="Show tracebacks."),
        ]
        return command

    return decorate


@contextmanager
def between_steps(
    finished: str = "training is done and kept, but its results were not written",
) -> Iterator[Callable[[], bool]]:
    """Lets long work end between two steps, where an interrupt would otherwise fall into one.

    Args:
        finished: What is said of the work when the interrupt came too late to stop it.

    Yields:
        Says whether there was an interrupt. A second one does not wait any more; but where
        several processes train together, their launcher decides how long it waits for them.
    """
    numbers: list[int] = []
    alone = read_process_rank().world_size == 1

    def note(number: int, frame: FrameType | None) -> None:
        if numbers and alone:
            raise _Interrupted(number, "what was kept before still is")
        numbers.append(number)

    for number in _SIGNALS:
        signal.signal(number, note)
    kept = finished
    try:
        yield lambda: bool(numbers)
    except Stopped as stopped:
        numbers.append(signal.SIGTERM)  # counts where only another process was interrupted
        kept = stopped.kept
    finally:
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
    if numbers:
        raise _Interrupted(numbers[0], kept)


def _run(
    name: str,
    function: Callable[[Context], None],
    params_path: Path,
    overrides: tuple[str, ...],
    debug: bool,
    resumable: bool,
    alone: bool,
) -> None:
    log = open_log(name)
    place = Workspace(Path.cwd())
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        params = load_params(params_path, overrides)
        # Of several processes the first holds the lock for all.
        with _lock(place, name) if alone and read_process_rank().is_main else nullcontext():
            function(Context(params, place, log))
    except _Interrupted as stop:
        kept = stop.kept or ("what is done is kept" if resumable else "no result was written")
        interrupted = f"interrupted; {kept}; run it again"
        _leave(name, interrupted, 128 + stop.number, debug, expected=True)
    except FinchError as error:
        message = str(error)
        maker = place.maker(error.path) if isinstance(error, ArtefactError) else None
        if maker and not error.remedy:
            message += f"; run `finch {maker.replace('_', '-')}` (or `dvc repro`)"
        _leave(name, message, 1, debug, expected=True)
    except Exception as error:  # the edge of the program: whatever it is, one line and a code
        detail = " ".join(str(error).split())
        shown = f"{type(error).__name__}: {detail}; --debug shows where"
        _leave(name, shown, 1, debug, expected=False)


def _lock(place: Workspace, name: str) -> filelock.FileLock:
    """Two runs of one stage would write the same files: killing ``dvc`` leaves a stage alive."""
    place.locks.mkdir(parents=True, exist_ok=True)
    path = place.locks / f"{name}.lock"
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FinchError(
            name, "is already running in this folder", f"wait for it, or end it ({path})"
        ) from None
    return lock


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted(number)


def _arguments(params_path: Path, overrides: tuple[str, ...], debug: bool) -> list[str]:
    """The options of a call, to be made again."""
    set_again = [word for override in overrides for word in ("--set", override)]
    return ["--params", str(params_path), *set_again, *(["--debug"] if debug else [])]


def _leave(name: str, message: str, code: int, debug: bool, *, expected: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    line = f"finch {name.replace('_', '-')}: {message}"
    if not leave_words(line, expected):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    # Interpreter shutdown of the native runtimes must not turn the code into another one.
    # Nor may one of several processes wait in it for another one that it has lost.
    os._exit(code) if code > 128 or read_process_rank().world_size > 1 else sys.exit(code)

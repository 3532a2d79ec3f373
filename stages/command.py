"""What all stages share: command line options, lock, signals, and errors in one line."""

from __future__ import annotations

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
from typing import Any, NoReturn

import click
import filelock
from finch_runtime.telemetry import turn_off

from pipeline.errors import ArtefactError, FinchError, Stopped
from pipeline.params import Params, load_params, load_section
from pipeline.plugins.section import Section
from pipeline.training.process_rank import read_process_rank
from stages.console import open_log
from stages.launch import launch, report_to_launcher, should_launch
from stages.workspace import Workspace

# Here, since every stage imports this module before any inference runtime that has telemetry.
turn_off()

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Context:
    """What a stage's function gets.

    Attributes:
        params: Validated parameters.
        paths: Paths of all artefacts.
        log: Logger of the stage.
        params_path: Parameter file.
        overrides: Values of ``--set``.
    """

    params: Params
    paths: Workspace
    log: logging.Logger
    params_path: Path
    overrides: tuple[str, ...]


def stage(
    *,
    reads: str,
    writes: str,
    resumable: bool = False,
    exclusive: bool | None = None,
    distributed: bool = False,
    config: type[Section] | None = None,
    options: Sequence[click.Parameter] = (),
) -> Callable[[Callable[..., None]], click.Command]:
    """Decorator that makes a command of a stage's function.

    The command exits with 1 after an error, 130 after Ctrl-C and 143 after SIGTERM, so that DVC
    does not take unfinished outputs for a result.

    Args:
        reads: Inputs, for ``--help``.
        writes: Outputs, for ``--help``.
        resumable: The stage keeps finished work and resumes from there.
        exclusive: Only one process may run the stage in a folder. By default true unless resumable.
        distributed: Several processes can run it together, see ``stages.launch``.
        config: Model of the stage's own parameter file, ``<stage>.yaml``. The function gets the
            parameters as ``config``; ``--set <stage>.<key>=<value>`` overrides one of them.
        options: Further command line options; the function gets their values as keywords.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        name = function.__name__.replace("_", "-")
        is_exclusive = not resumable if exclusive is None else exclusive
        this = _Stage(function, resumable, is_exclusive, distributed, config)
        common = [
            _path_option("--params", "params_path", "params.yaml", "Parameter file."),
            click.Option(
                ["--set", "overrides"],
                multiple=True,
                metavar="KEY=VALUE",
                help="Override a parameter, such as distill.figkd.level=2. Can be repeated.",
            ),
            click.Option(["--debug"], is_flag=True, help="Show tracebacks."),
        ]
        if config is not None:
            help_text = f"Parameter file of finch {name}."
            common.insert(0, _path_option("--config", "config_path", f"{name}.yaml", help_text))
        return click.Command(
            name,
            callback=this.run,
            params=[*options, *common],
            help=f"{inspect.getdoc(function)}\n\n\b\nReads:  {reads}\nWrites: {writes}\n",
        )

    return decorate


def _path_option(flag: str, name: str, default: str, help_text: str) -> click.Option:
    path = click.Path(path_type=Path)
    return click.Option([flag, name], type=path, default=default, show_default=True, help=help_text)


@dataclass(frozen=True)
class _Stage:
    """A stage's function and how it runs; see ``stage``."""

    function: Callable[..., None]
    resumable: bool
    exclusive: bool
    distributed: bool
    config: type[Section] | None

    def run(
        self, params_path: Path, overrides: tuple[str, ...], debug: bool, **options: Any
    ) -> None:
        """Runs the stage as a process: lock, signal handlers, exit code."""
        name, paths = self.function.__name__, Workspace(Path.cwd())
        if self.distributed and should_launch():
            set_again = [word for override in overrides for word in ("--set", override)]
            debug_again = ["--debug"] if debug else []
            launch(name, ["--params", str(params_path), *set_again, *debug_again])
        log = open_log(name)
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        try:
            if self.config is not None:
                own = [o for o in overrides if o.startswith(f"{name}.")]
                overrides = tuple(o for o in overrides if o not in own)
                keys = [override.removeprefix(f"{name}.") for override in own]
                options["config"] = load_section(options.pop("config_path"), self.config, keys)
            params = load_params(params_path, overrides)
            # In distributed training the main process holds the lock for all.
            locked = self.exclusive and read_process_rank().is_main
            with _lock(paths, name) if locked else nullcontext():
                self.function(Context(params, paths, log, params_path, overrides), **options)
        except _Interrupted as stop:
            kept = stop.kept or (
                "finished work is kept" if self.resumable else "no result was written"
            )
            _fail(name, f"interrupted; {kept}; run it again", 128 + stop.number, debug)
        except FinchError as error:
            message = str(error)
            writer = paths.stage_of(error.path) if isinstance(error, ArtefactError) else None
            if writer and not error.remedy:
                message += f"; run `finch {writer.replace('_', '-')}` (or `dvc repro`)"
            _fail(name, message, 1, debug)
        except BrokenPipeError:  # the output goes to a pager that was closed; Click exits silently
            raise
        except Exception as error:  # whatever it is: one line and an exit code
            detail = " ".join(str(error).split())
            message = f"{type(error).__name__}: {detail}; --debug shows the traceback"
            _fail(name, message, 1, debug, expected=False)


class _Interrupted(BaseException):
    def __init__(self, number: int, kept: str = "") -> None:
        self.number = number
        self.kept = kept


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted(number)


@contextmanager
def between_steps(
    finished: str = "training is finished and kept, but its results were not written",
) -> Iterator[Callable[[], bool]]:
    """Delays an interrupt until the running step is complete.

    Args:
        finished: Message if the work was complete before it could stop.

    Yields:
        Function that returns whether an interrupt is pending. A second interrupt is not delayed,
        except in distributed training, where the launcher sets the timeout.
    """
    numbers: list[int] = []
    is_alone = read_process_rank().world_size == 1

    def remember(number: int, frame: FrameType | None) -> None:
        if numbers and is_alone:
            raise _Interrupted(number, "what was saved before is kept")
        numbers.append(number)

    for number in _SIGNALS:
        signal.signal(number, remember)
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


def _lock(paths: Workspace, name: str) -> filelock.FileLock:
    """A second process would write the same files; a stage outlives a ``dvc`` that was killed."""
    paths.locks.mkdir(parents=True, exist_ok=True)
    path = paths.locks / f"{name}.lock"
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FinchError(
            name, "is already running in this folder", f"wait for it, or stop it ({path})"
        ) from None
    return lock


def _fail(name: str, message: str, code: int, debug: bool, *, expected: bool = True) -> NoReturn:
    if debug:
        traceback.print_exc()
    line = f"finch {name.replace('_', '-')}: {message}"
    if not report_to_launcher(line, expected):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    # Without interpreter shutdown: there native runtimes could change the exit code, and one of
    # several training processes could wait for another that is gone.
    if code > 128 or read_process_rank().world_size > 1:
        os._exit(code)
    sys.exit(code)

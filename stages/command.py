"""Command line options, locks, exit codes and error messages of all commands."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from finch_runtime.errors import printable
from finch_runtime.telemetry import turn_off

from pipeline.errors import ArtifactError, FinchError
from pipeline.training.process_rank import read_process_rank
from stages.console import open_log
from stages.interruption import Interrupted, raise_interrupts
from stages.launch import launch, report_to_launcher, should_launch
from stages.run_log import describe_run, log_failure, open_run_log
from stages.usage import Command
from stages.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.plugins.section import Section

# At import, since every stage imports this module before any inference runtime. Nothing that is
# imported here, or by a stage's module, takes longer than the help that it is imported for.
turn_off()


@dataclass(frozen=True)
class Context:
    """Parameters, paths and log of a stage.

    Attributes:
        params: Validated parameters.
        paths: Paths of all artifacts.
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
    exclusive: bool = True,
    log_file: bool = True,
    distributed: bool = False,
    config: Callable[[], type[Section]] | None = None,
    options: Sequence[click.Parameter] = (),
) -> Callable[[Callable[..., None]], click.Command]:
    """Decorator that creates a command from a stage's function.

    The command exits with 1 after an error, 130 after Ctrl-C and 143 after SIGTERM, so that DVC
    does not accept unfinished outputs.

    Args:
        reads: Inputs, for ``--help``.
        writes: Outputs, for ``--help``.
        resumable: The next run resumes from finished work.
        exclusive: Only one process may run the stage in a folder.
        log_file: Its log is kept in ``.finch/logs/``, and it has the options ``--quiet`` and
            ``--verbose``. False for a command that only prints.
        distributed: Several processes can run it together, see ``stages.launch``.
        config: Returns the model of the stage's own parameter file, ``<stage>.yaml``. The stage
            gets the parameters as ``config``; ``--set <stage>.<key>=<value>`` overrides one.
        options: Further command line options; the function gets their values as keywords.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        name = function.__name__

        def run(
            params_path: Path,
            overrides: tuple[str, ...],
            debug: bool,
            level: int = logging.INFO,
            **values: Any,
        ) -> None:
            if distributed and should_launch():
                set_again = [word for override in overrides for word in ("--set", override)]
                debug_again = ["--debug"] if debug else []
                level_again = [f"--{word}" for word, of_word in _LEVELS.items() if of_word == level]
                again = [*set_again, *debug_again, *level_again]
                launch(name, ["--params", str(params_path), *again])
            paths, start = Workspace(Path.cwd()), time.monotonic()
            # In distributed training the main process logs for all.
            keeps_log = log_file and read_process_rank().is_main
            log = open_log(
                name, level=level, file=open_run_log(paths.logs, name) if keeps_log else None
            )
            describe_run(log)
            raise_interrupts()
            with _exit_on_errors(name, paths, resumable, debug):
                from pipeline.params import load_params, load_section

                if config is not None:
                    own = [o for o in overrides if o.startswith(f"{name}.")]
                    overrides = tuple(o for o in overrides if o not in own)
                    keys = [override.removeprefix(f"{name}.") for override in own]
                    values["config"] = load_section(values.pop("config_path"), config(), keys)
                params, process = load_params(params_path, overrides), read_process_rank()
                if process.world_size > 1 and not distributed:
                    problem = f"{name} does not support distributed training"
                    remedy = "run it without torchrun"
                    raise FinchError(f"WORLD_SIZE = {process.world_size}", problem, remedy)
                # In distributed training the main process holds the lock for all.
                locked = exclusive and process.is_main
                with _lock(paths, name) if locked else nullcontext():
                    function(Context(params, paths, log, params_path, overrides), **values)
                log.debug("finished after %.1f s", time.monotonic() - start)

        parameters = [*options, *_common_options(name.replace("_", "-"), config is not None)]
        parameters += _level_options() if log_file else []
        return _command(function, run, reads, writes, parameters)

    return decorate


def tool(
    *, reads: str, writes: str, options: Sequence[click.Parameter] = ()
) -> Callable[[Callable[..., None]], click.Command]:
    """Decorator that creates a command that needs no parameter file; otherwise as ``stage``.

    The function gets the values of ``options`` as keywords.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(debug: bool, **values: Any) -> None:
            raise_interrupts()
            with _exit_on_errors(function.__name__, Workspace(Path.cwd()), False, debug):
                function(**values)

        return _command(function, run, reads, writes, [*options, _debug_option()])

    return decorate


def _command(
    function: Callable[..., None],
    run: Callable[..., None],
    reads: str,
    writes: str,
    options: Sequence[click.Parameter],
) -> Command:
    name = function.__name__.replace("_", "-")
    help_text = f"{inspect.getdoc(function)}\n\n\b\nReads:  {reads}\nWrites: {writes}\n"
    return Command(name, callback=run, params=list(options), help=help_text)


def json_option(help_text: str) -> click.Option:
    """The option ``--json`` of a command, which the function gets as ``as_json``."""
    return click.Option(["--json", "as_json"], is_flag=True, help=help_text)


def _debug_option() -> click.Option:
    return click.Option(["--debug"], is_flag=True, help="Show tracebacks.")


_LEVELS = {"quiet": logging.WARNING, "verbose": logging.DEBUG}


def _level_options() -> list[click.Option]:
    texts = {
        "quiet": "Print only warnings and errors.",
        "verbose": "Also print versions, durations and the output of libraries.",
    }
    return [
        click.Option(
            [f"--{word}", "level"],
            type=click.UNPROCESSED,
            flag_value=_LEVELS[word],
            default=logging.INFO,
            show_default=False,
            help=text,
        )
        for word, text in texts.items()
    ]


def _common_options(name: str, has_config: bool) -> list[click.Option]:
    file = partial(click.Option, type=click.Path(path_type=Path), show_default=True)
    common = [
        file(["--params", "params_path"], default="params.yaml", help="Parameter file."),
        click.Option(
            ["--set", "overrides"],
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a parameter, such as distill.figkd.level=2. Can be repeated.",
        ),
        _debug_option(),
    ]
    if has_config:
        help_text = f"Parameter file of finch {name}."
        common.insert(0, file(["--config", "config_path"], default=f"{name}.yaml", help=help_text))
    return common


@contextmanager
def _exit_on_errors(name: str, paths: Workspace, resumable: bool, debug: bool) -> Iterator[None]:
    """Exits with a code and one line after an error or an interrupt."""
    try:
        yield
    except Interrupted as stop:
        kept = stop.kept or ("finished work is kept" if resumable else "no result was written")
        _fail(name, f"interrupted; {kept}; run it again", 128 + stop.number, debug)
    except FinchError as error:
        message = str(error)
        writer = paths.stage_of(error.path) if isinstance(error, ArtifactError) else None
        if writer and not error.remedy:
            message += f"; run `finch {writer.replace('_', '-')}` (or `dvc repro`)"
        _fail(name, message, 1, debug)
    except BrokenPipeError:  # the output goes to a pager that was closed; Click exits silently
        raise
    except Exception as error:  # all others are also reported in one line
        from pipeline.storage import storage_problem

        name_of_file = error.filename if isinstance(error, OSError) else None
        folder = Path(os.fsdecode(name_of_file)).parent if name_of_file else paths.root
        problem = storage_problem(error, folder)
        if problem is None:
            _fail_unexpected(name, error, debug)
        _fail(name, str(problem), 1, debug)


def _lock(paths: Workspace, name: str) -> AbstractContextManager[object]:
    """Locks out a second process; a stage can still be running after its ``dvc`` was killed."""
    import filelock

    paths.locks.mkdir(parents=True, exist_ok=True)
    path = paths.locks / f"{name}.lock"
    try:
        return filelock.FileLock(path).acquire(timeout=0)
    except filelock.Timeout:
        problem, remedy = "is already running in this folder", f"wait for it, or stop it ({path})"
        raise FinchError(name, problem, remedy) from None


def _fail_unexpected(name: str, error: Exception, debug: bool) -> NoReturn:
    message = f"{type(error).__name__}: {error}; --debug shows the traceback"
    _fail(name, message, 1, debug, expected=False)


def _fail(name: str, message: str, code: int, debug: bool, *, expected: bool = True) -> NoReturn:
    if debug:
        traceback.print_exc()
    log_failure(message)
    # Names of files and classes, and what other programs printed, may contain control characters.
    line = printable(f"finch {name.replace('_', '-')}: {' '.join(message.split())}")
    if not report_to_launcher(line, expected):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    # Skips interpreter shutdown, in which native libraries could change the exit code, and a
    # process of distributed training could wait for one that has exited.
    if code > 128 or read_process_rank().world_size > 1:
        os._exit(code)
    sys.exit(code)

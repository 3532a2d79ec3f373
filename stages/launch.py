"""Launches a training stage in several processes, on one or more machines.

With torchrun's options in FINCH_TORCHRUN, the process of a stage becomes a launcher. It runs the
same command in several processes through torchrun, prints one line and returns one exit code for
all of them. Commands in ``dvc.yaml`` stay the same.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from finch_runtime.errors import printable

from stages.interruption import Interrupted, raise_interrupts

OPTIONS = "FINCH_TORCHRUN"

# Folder in which every process writes its error, set by the launcher. The launcher prints each
# different error once: if the loss is not finite, for example, all processes fail.
_ERRORS = "FINCH_ERRORS"
_CAUSE, _CONSEQUENCE = "cause", "consequence"
_INTERRUPTED = "interrupted; no result was written; run it again"


def should_launch() -> bool:
    """Whether this process must launch the training processes, and was not launched itself."""
    return bool(os.environ.get(OPTIONS)) and "WORLD_SIZE" not in os.environ


def launch(stage: str, arguments: Sequence[str]) -> NoReturn:
    """Runs a stage in several processes, then exits: 0, 130 or 143 after an interrupt, else 1."""
    name = stage.replace("_", "-")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_ERRORS] = folder
        # Defaults of torchrun's options --log-dir and --shutdown-timeout: the seconds in which
        # interrupted processes can write a checkpoint.
        os.environ.setdefault("PET_LOG_DIR", folder)
        os.environ.setdefault("PET_SHUTDOWN_TIMEOUT", "600")
        code, problem = _start(["-m", f"stages.{stage}", *arguments])
        own = [f"finch {name}: {problem}"] if problem else []
        lines = _read_errors(folder, _CAUSE) or own or _read_errors(folder, _CONSEQUENCE)
    if code:
        lines = lines or [f"finch {name}: a process ended without an error message; run it again"]
        print(*map(printable, lines), sep="\n", file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)


def report_to_launcher(line: str, expected: bool) -> bool:
    """Writes the error of a process for its launcher; returns False if there is none.

    An unexpected exception can be a consequence: a process that loses its connection to another one
    raises one, and the cause is the other's error.
    """
    folder = os.environ.get(_ERRORS)
    if folder is None:
        return False
    kind = _CAUSE if expected else _CONSEQUENCE
    (Path(folder) / f"{os.environ['RANK']}.{kind}").write_text(line, encoding="utf-8")
    return True


def _read_errors(folder: str, kind: str) -> list[str]:
    """The different lines, in order of rank."""
    lines = [path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob(f"*.{kind}"))]
    return list(dict.fromkeys(lines))


def _start(command: list[str]) -> tuple[int, str]:
    """Runs torchrun in this process; returns its exit code, and the problem if it is known."""
    raise_interrupts()
    try:
        return _torchrun(command)
    except Interrupted as stop:  # before torchrun has set its own handlers
        return 128 + stop.number, _INTERRUPTED
    except Exception as error:  # torchrun raises many types
        detail = " ".join(str(error).split())
        return 1, f"{OPTIONS} = {os.environ[OPTIONS]}: torchrun fails with {detail}; correct it"


def _torchrun(command: list[str]) -> tuple[int, str]:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    logging.disable(logging.ERROR)  # of torchrun; the errors of the processes are printed instead
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        run(parser.parse_args([*shlex.split(os.environ[OPTIONS]), *command]))  # type: ignore[no-untyped-call]
    except SystemExit:  # as after --help, which must not count as success
        return 1, f"{OPTIONS} = {os.environ[OPTIONS]}: starts no process; correct it"
    except SignalException as stop:
        return 128 + stop.sigval, _INTERRUPTED
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        interrupted = [code for code in codes.values() if code > 128]
        if len(interrupted) == len(codes):
            return interrupted[0], _INTERRUPTED
        # torchrun itself stops the remaining processes with SIGTERM.
        killed = {r: -code for r, code in codes.items() if code < 0 and code != -signal.SIGTERM}
        for rank, number in killed.items():
            name = signal.Signals(number).name
            return 1, f"rank {rank} was killed by {name}; its checkpoint is kept; run it again"
        return 1, ""
    return 0, ""


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)

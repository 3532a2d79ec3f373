"""A training stage that several processes do together, on one machine or on many.

Where the environment says so, in FINCH_TORCHRUN, the stage's process becomes a launcher: it starts
the same command again as often as its options say, through torchrun, and leaves with one line and
one exit code for all. Where it is said so, a command in ``dvc.yaml`` stays what it is.
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

OPTIONS = "FINCH_TORCHRUN"

# Set by the launcher: the folder in which each process leaves its last words. The launcher says
# them once, where eight processes that see the same loss would say the same line eight times.
_WORDS = "FINCH_LAST_WORDS"
# Seconds that interrupted processes have to make a checkpoint, before torchrun kills them.
_PATIENCE = "600"
_REASON, _SYMPTOM = "reason", "symptom"
_INTERRUPTED = "interrupted; no result was written; run it again"


def is_asked_for() -> bool:
    """Whether this process is to launch others, and is not itself one of them."""
    return bool(os.environ.get(OPTIONS)) and "WORLD_SIZE" not in os.environ


def launch(stage: str, arguments: Sequence[str]) -> NoReturn:
    """Does a stage in several processes and leaves as they have left.

    The code is 0 when all of them are done, 130 or 143 when they were interrupted, else 1.

    Args:
        stage: The stage's module.
        arguments: Of its command.
    """
    name = stage.replace("_", "-")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_WORDS] = folder
        # Defaults of torchrun's own options: where it keeps its files, and its patience.
        os.environ.setdefault("PET_LOG_DIR", folder)
        os.environ.setdefault("PET_SHUTDOWN_TIMEOUT", _PATIENCE)
        code, why = _start(["-m", f"stages.{stage}", *arguments])
        ours = [f"finch {name}: {why}"] if why else []
        words = _read_words(Path(folder), _REASON) or ours or _read_words(Path(folder), _SYMPTOM)
    if code:
        words = words or [f"finch {name}: a process ended without a word; run it again"]
        print(*words, sep="\n", file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)


def leave_words(line: str, expected: bool) -> bool:
    """Leaves a process's last line to its launcher.

    Args:
        line: What the process would say.
        expected: It says why the stage ends, and is not just an exception: one that cannot reach
            the others any more has such an exception, while what ended them is the reason.

    Returns:
        False when there is no launcher.
    """
    folder = os.environ.get(_WORDS)
    if folder is None:
        return False
    kind = _REASON if expected else _SYMPTOM
    (Path(folder) / f"{os.environ['RANK']}.{kind}").write_text(line, encoding="utf-8")
    return True


def _read_words(folder: Path, kind: str) -> list[str]:
    """Each line once."""
    lines = [path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*.{kind}"))]
    return list(dict.fromkeys(lines))


def _start(command: list[str]) -> tuple[int, str]:
    """Runs torchrun in this process.

    Returns:
        The exit code, and what to say if no process has said why it ended; "" if that is unknown.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return _torchrun(command)
    except _Interrupted as stop:  # before torchrun has set handlers of its own
        return 128 + stop.number, _INTERRUPTED
    except Exception as error:  # torchrun has many
        said = " ".join(str(error).split())
        return 1, f"{OPTIONS} = {os.environ[OPTIONS]}: torchrun ends with {said}; correct it"


def _torchrun(command: list[str]) -> tuple[int, str]:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    logging.disable(logging.ERROR)  # torchrun's own; what counts are the words of the processes
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        run(parser.parse_args([*shlex.split(os.environ[OPTIONS]), *command]))  # type: ignore[no-untyped-call]
    except SystemExit:  # after --help; nothing has been done, so it must not look like success
        return 1, f"{OPTIONS} = {os.environ[OPTIONS]}: starts nothing; correct it"
    except SignalException as stop:
        return 128 + stop.sigval, _INTERRUPTED
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        interrupted = [code for code in codes.values() if code > 128]
        if len(interrupted) == len(codes):
            return interrupted[0], _INTERRUPTED
        # torchrun ends those that are left over with SIGTERM.
        killed = {r: -code for r, code in codes.items() if code < 0 and code != -signal.SIGTERM}
        for rank, number in killed.items():
            how = f"was killed by {signal.Signals(number).name}"
            return 1, f"process {rank + 1} {how}; its last checkpoint is kept; run it again"
        return 1, ""
    return 0, ""


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


def _interrupt(number: int, frame: object) -> NoReturn:
    raise _Interrupted(number)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)

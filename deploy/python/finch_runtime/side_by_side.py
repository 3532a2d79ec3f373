"""Several models timed side by side: each in a process of its own, a few inferences in turn.

A busy machine changes within seconds, and a process has its luck with where its memory lies. So all
models are there at the same time and take turns of a few milliseconds, which meet the same machine;
and a caller that wants certainty begins anew with new processes.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from finch_runtime.arrays import read_images
from finch_runtime.conditions import read_conditions
from finch_runtime.energy import Energy, EnergyMeter
from finch_runtime.errors import RuntimeProblem
from finch_runtime.installed import installed_bytes
from finch_runtime.memory import peak_bytes
from finch_runtime.session import open_session
from finch_runtime.timing import time_once, warm_up

# The first inferences of a turn find the caches full of another model's weights.
_UNTIMED = 2


@dataclass(frozen=True)
class Work:
    """How every model is timed.

    Attributes:
        images: ``.npy`` file, uint8 [n, size, size, 3]; the inferences take them in turn.
        threads: Threads of one inference.
        turns: Turns of every model.
        runs: Timed inferences in a turn.
        warmup: Fewest inferences before the first turn.
        warmup_s: Shortest time of these, in seconds.
        seed: Seed of the order in which models take turns.
    """

    images: Path
    threads: int
    turns: int
    runs: int
    warmup: int
    warmup_s: float
    seed: int


def time_side_by_side(models: Sequence[tuple[Path, str]], work: Work) -> dict[str, Any]:
    """Times models beside each other.

    Every other turn goes through them in a new order, and the one after it the same way backwards,
    so that a steady drift of the machine favours none.

    Args:
        models: File and inference runtime of each.
        work: How.

    Returns:
        A JSON value: ``conditions``, the machine before and after; ``models``, for each of them
        ``turns``, its seconds by turn, and what ``bench`` tells of it otherwise.

    Raises:
        RuntimeProblem: A model cannot be run; it is about the model's file.
    """
    order = list(range(len(models)))
    shuffle = random.Random(work.seed)
    workers: list[_Worker] = []
    try:
        # One after the other, or they would slow down each other's loading.
        for path, runtime in models:
            workers.append(_Worker(path, runtime, work))
        before = read_conditions()
        for turn in range(work.turns):
            order = order[::-1] if turn % 2 else shuffle.sample(order, len(order))
            for index in order:
                workers[index].take_turn()
        conditions = [asdict(before), asdict(read_conditions())]
        return {"conditions": conditions, "models": [worker.finish() for worker in workers]}
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process with a model in it."""

    def __init__(self, path: Path, runtime: str, work: Work) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._path = path
        self._turns: list[list[float]] = []
        self._line, theirs = spawn.Pipe()
        self._process: SpawnProcess = spawn.Process(
            target=_serve, args=(theirs, path, runtime, work), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.end()
            raise

    def take_turn(self) -> None:
        self._line.send(True)
        self._turns.append(self._receive())

    def finish(self) -> dict[str, Any]:
        self._line.send(False)
        return {**self._receive(), "turns": self._turns}

    def end(self) -> None:
        with suppress(OSError):
            self._line.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Any:
        try:
            kind, content = self._line.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeProblem(
                self._path,
                f"its process ended with code {self._process.exitcode}",
                "see whether there is memory for all models at the same time",
            ) from None
        if kind == "problem":
            thing, problem, remedy = content
            about = "" if thing == str(self._path) else f"{thing}: "
            raise RuntimeProblem(self._path, f"{about}{problem}", remedy)
        return content


def _serve(line: Connection, path: Path, runtime: str, work: Work) -> None:
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        try:
            _answer(line, path, runtime, work)
        except RuntimeProblem as problem:
            line.send(("problem", (str(problem.thing), problem.problem, problem.remedy)))


def _answer(line: Connection, path: Path, runtime: str, work: Work) -> None:
    bare_bytes = peak_bytes()  # before the runtime is imported
    session = open_session(path, runtime, work.threads)
    images = read_images(work.images)
    first_s = time_once(session, images, 0)
    warm_up(session, images, work.warmup, work.warmup_s)
    meter = EnergyMeter()
    taken: list[Energy] = []
    line.send(("ready", None))
    place = 0
    while line.recv():
        for _ in range(_UNTIMED):
            time_once(session, images, place)
        seconds: list[float] = []
        meter.start()
        for _ in range(work.runs):
            seconds.append(time_once(session, images, place))
            meter.sample()
            place += 1
        taken.append(meter.stop())
        line.send(("turn", seconds))
    record = {
        "load_s": session.load_s,
        "first_s": first_s,
        "threads": session.threads,
        "runtime": session.runtime,
        "runtime_version": session.runtime_version,
        "settings": dict(session.settings),
        "bare_bytes": bare_bytes,
        "peak_bytes": peak_bytes(),
        "runtime_bytes": installed_bytes(runtime),
        "energy": asdict(_total(taken)),
    }
    line.send(("record", record))


def _total(taken: Sequence[Energy]) -> Energy:
    joules = 0.0
    for energy in taken:
        if energy.joules is None:
            return energy
        joules += energy.joules
    return Energy(joules, taken[-1].source) if taken else Energy(None, "not measured: no turns")

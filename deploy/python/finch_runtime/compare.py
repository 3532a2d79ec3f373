"""Times several models in alternation, each in its own process.

The load of a machine changes within seconds. The models therefore alternate in turns of a few
milliseconds, so that neighboring turns run under the same conditions. Latency also depends on the
process, through its memory layout, so callers repeat the comparison with new processes.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np

from finch_runtime.arrays import read_images
from finch_runtime.bundle import open_source
from finch_runtime.conditions import read_conditions
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import CompareRequest, CompareResult, ModelSource, ModelTiming
from finch_runtime.timing import Timer
from finch_runtime.usage import peak_bytes

# The first inferences of a turn run with the weights of another model in the caches.
_UNTIMED = 2


def compare(request: CompareRequest) -> CompareResult:
    """Times all models of a request.

    Every other pass over the models has a new random order; the pass after it has the reverse
    order, so that a steady drift of the machine favors no model.

    Raises:
        RuntimeProblem: A model cannot be run; the subject is the path of the model.
    """
    order = list(range(len(request.models)))
    shuffle = random.Random(request.plan.seed)
    workers: list[_Worker] = []
    try:
        for model in request.models:
            workers.append(_Worker(model, request))
            # One after the other: concurrent loading would distort the load times.
            workers[-1].wait()
        before = read_conditions()
        for turn in range(request.plan.turns):
            order = order[::-1] if turn % 2 else shuffle.sample(order, len(order))
            for index in order:
                workers[index].take_turn()
        after = read_conditions()
        for worker in workers:
            worker.measure_energy()
        return CompareResult([worker.finish() for worker in workers], [before, after])
    finally:
        for worker in workers:
            worker.stop()


def turn_ratios(model: ModelTiming, reference: ModelTiming) -> list[float]:
    """Median latency of each turn, divided by that of the reference in the same pass."""
    own, other = (np.median(timing.turns, axis=1) for timing in (model, reference))
    ratios: list[float] = (own / other).tolist()
    return ratios


class _Worker:
    """A process with one model."""

    def __init__(self, model: ModelSource, request: CompareRequest) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._path = model.path
        self._pipe, remote_end = spawn.Pipe()
        self._process: SpawnProcess = spawn.Process(
            target=_serve, args=(remote_end, model, request), daemon=True
        )
        self._process.start()
        remote_end.close()

    def wait(self) -> Any:
        """Waits until the process has loaded its model, or ended its turn; returns its result."""
        try:
            content = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            problem = f"its process exited with code {self._process.exitcode}"
            remedy = "check that all models fit into memory at the same time"
            raise RuntimeProblem(self._path, problem, remedy) from None
        if isinstance(content, RuntimeProblem):
            subject = "" if str(content.thing) == self._path else f"{content.thing}: "
            raise RuntimeProblem(self._path, f"{subject}{content.problem}", content.remedy)
        return content

    def take_turn(self) -> None:
        self._request("turn")

    def measure_energy(self) -> None:
        self._request("energy")

    def finish(self) -> ModelTiming:
        timing: ModelTiming = self._request("finish")
        return timing

    def stop(self) -> None:
        with suppress(OSError):
            self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _request(self, command: str) -> Any:
        with suppress(OSError):  # the process has exited; receiving reports it
            self._pipe.send(command)
        return self.wait()


def _serve(pipe: Connection, model: ModelSource, request: CompareRequest) -> None:
    """Runs in the worker process: executes the commands of a ``_Worker``."""
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        try:
            timer = _prepare(model, request)
            pipe.send(None)
            while (command := pipe.recv()) != "finish":
                if command == "turn":
                    timer.time_turn(request.plan.runs, untimed=_UNTIMED)
                else:
                    timer.measure_energy()
                pipe.send(None)
            pipe.send(timer.result())
        except RuntimeProblem as error:
            pipe.send(error)


def _prepare(model: ModelSource, request: CompareRequest) -> Timer:
    baseline_bytes = peak_bytes()
    session, _ = open_source(model, request.threads)
    images = read_images(Path(model.images or request.images))
    timer = Timer(session, images, baseline_bytes)
    timer.warm_up(request.plan.warmup, request.plan.warmup_s)
    return timer


def format_lines(models: Sequence[ModelSource], result: CompareResult) -> list[str]:
    """Median latency of each model, and its ratio to the first, as text."""
    lines = []
    for model, timing in zip(models, result.models):  # noqa: B905, strict needs Python 3.10
        p50_ms = 1e3 * float(np.median(np.median(timing.turns, axis=1)))
        ratio = float(np.median(turn_ratios(timing, result.models[0])))
        lines.append(f"{p50_ms:11.3f} ms {ratio:7.3f} x  {model.path}")
    return lines

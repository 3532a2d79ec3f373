"""Tunes every method with one budget, and trains the chosen settings with several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compare.plan import Run, finals_of, trials_of
from pipeline.compare.runs import ComparisonSetup, RunStore, held_out_accuracy, train_run
from pipeline.errors import ParameterError
from pipeline.params import Compare, Distill
from pipeline.progress import Track, silent


@dataclass(frozen=True)
class Done:
    """A run that has just been finished.

    Attributes:
        run: Which one.
        record: What it came to.
        number: Its place among all runs, from 1.
        total: All runs of the comparison.
        seconds_left: Estimated from the seconds per epoch so far.
    """

    run: Run
    record: dict[str, Any]
    number: int
    total: int
    seconds_left: float


def run_comparison(
    compare: Compare,
    distill: Distill,
    bench: ComparisonSetup,
    store: RunStore,
    *,
    track: Track = silent,
    on_done: Callable[[Done], None] = lambda done: None,
) -> dict[str, list[Run]]:
    """Trains what is not there yet: first all trials, then the final runs.

    Any number of processes may do this in one folder at once: each takes runs that no other holds,
    and waits at the end for those that another one does.

    Returns:
        The final runs of every entry, by its name.

    Raises:
        ParameterError: There are no entries.
        TrainingError: A loss is not finite.
    """
    if not compare.entries:
        raise ParameterError("compare.entries", "is empty", "list the methods to compare")
    trials = {entry.name: trials_of(entry, distill, compare) for entry in compare.entries}
    first = [run for settings in trials.values() for runs in settings for run in runs]
    finals = len(trials) * compare.seeds
    epochs = sum(run.distill.epochs for run in first) + finals * distill.epochs
    worker = _Worker(bench, store, len(first) + finals, epochs, on_done)
    steps = track(_both(worker, trials, compare, distill), "comparing", worker.total)
    for _ in steps:
        pass
    return _finals(compare, distill, trials, bench, store)


def _both(
    worker: _Worker, trials: dict[str, list[list[Run]]], compare: Compare, distill: Distill
) -> Iterator[None]:
    yield from worker.finish(
        [run for settings in trials.values() for runs in settings for run in runs]
    )
    finals = _finals(compare, distill, trials, worker.bench, worker.store)
    # Seed by seed, so that a comparison that is cut short has something of every entry.
    yield from worker.finish([runs[s] for s in range(compare.seeds) for runs in finals.values()])


class _Worker:
    """Trains runs that nobody else trains, and keeps the time."""

    def __init__(
        self,
        bench: ComparisonSetup,
        store: RunStore,
        total: int,
        epochs: int,
        on_done: Callable[[Done], None],
    ) -> None:
        self.bench, self.store, self.on_done = bench, store, on_done
        self.number, self.total, self.epochs_left = 0, total, epochs
        self.epochs_done, self.seconds = 0, 0.0

    def finish(self, runs: list[Run]) -> Iterator[None]:
        held = []
        for run in runs:
            if self._settle(run, wait=False):
                yield
            else:
                held.append(run)
        for run in held:
            self._settle(run, wait=True)
            yield

    def _settle(self, run: Run, *, wait: bool) -> bool:
        """True once the run is finished, by whomever; False when another process holds it."""
        name = self.bench.name_of(run)
        record = self.store.read(name)
        if record is None:
            with self.store.claim(name, wait=wait) as is_ours:
                if not is_ours:
                    return False
                record = self.store.read(name)
                if record is None:
                    record = train_run(run, self.bench, self.store)
                    self.epochs_done += run.distill.epochs
                    self.seconds += record["seconds"]
                    self._count(run, record, is_new=True)
                    return True
        self._count(run, record, is_new=False)
        return True

    def _count(self, run: Run, record: dict[str, Any], *, is_new: bool) -> None:
        self.number += 1
        self.epochs_left -= run.distill.epochs
        if is_new:
            left = self.epochs_left * self.seconds / self.epochs_done
            self.on_done(Done(run, record, self.number, self.total, left))


def _finals(
    compare: Compare,
    distill: Distill,
    trials: dict[str, list[list[Run]]],
    bench: ComparisonSetup,
    store: RunStore,
) -> dict[str, list[Run]]:
    finals = {}
    for entry in compare.entries:
        settings = trials[entry.name]
        best = int(np.argmax([held_out_accuracy(runs, bench, store) for runs in settings]))
        finals[entry.name] = finals_of(entry, settings[best][0].setting, distill, compare)
    return finals

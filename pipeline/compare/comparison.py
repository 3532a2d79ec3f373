"""Tunes every entry with the same budget, and trains the selected settings with several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compare.runs import (
    ComparisonSetup,
    Run,
    RunStore,
    finals_of,
    held_out_accuracy,
    train_run,
    trials_of,
)
from pipeline.progress import Track, silent


@dataclass(frozen=True)
class FinishedRun:
    """A run that this process has trained.

    Attributes:
        run: The run.
        record: Its record, see ``train_run``.
        number: Number of finished runs, including those of other processes.
        total: Number of all runs.
        seconds_left: Remaining time, estimated from the seconds per epoch so far.
    """

    run: Run
    record: dict[str, Any]
    number: int
    total: int
    seconds_left: float


def run_comparison(
    setup: ComparisonSetup,
    store: RunStore,
    *,
    track: Track = silent,
    on_finished: Callable[[FinishedRun], None] = lambda finished: None,
) -> dict[str, list[Run]]:
    """Trains all runs that are not finished: first the trials, then the final runs.

    Several processes can share one folder. Each trains the runs that no other process has locked,
    and then waits for the locked ones.

    Returns:
        The final runs of every entry, by its name.

    Raises:
        TrainingError: A loss is not finite.
    """
    comparison = _Comparison(setup, store, on_finished)
    for _ in track(comparison.run(), "comparing", comparison.total):
        pass
    return comparison.finals


class _Comparison:
    """The runs of a comparison, and the time that they take."""

    def __init__(
        self, setup: ComparisonSetup, store: RunStore, on_finished: Callable[[FinishedRun], None]
    ) -> None:
        self.setup, self.store, self.on_finished = setup, store, on_finished
        compare, distill = setup.compare, setup.distill
        self.trials = {entry.name: trials_of(entry, compare, distill) for entry in compare.entries}
        self.trial_runs = [
            run for settings in self.trials.values() for runs in settings for run in runs
        ]
        self.finals: dict[str, list[Run]] = {}
        finals = len(compare.entries) * compare.seeds
        self.number, self.total = 0, len(self.trial_runs) + finals
        trial_epochs = sum(run.distill.epochs for run in self.trial_runs)
        self.epochs_left = trial_epochs + finals * distill.epochs
        self.epochs_done, self.seconds = 0, 0.0

    def run(self) -> Iterator[None]:
        """Finishes all runs; yields after each."""
        yield from self._finish(self.trial_runs)
        setup, compare = self.setup, self.setup.compare
        for entry in compare.entries:
            settings = self.trials[entry.name]
            accuracies = [held_out_accuracy(runs, setup, self.store) for runs in settings]
            best = settings[int(np.argmax(accuracies))][0].setting
            self.finals[entry.name] = finals_of(entry, best, compare, setup.distill)
        # Seed by seed, so that an interrupted comparison has results of every entry.
        by_seed = zip(*self.finals.values(), strict=True)
        yield from self._finish([run for runs in by_seed for run in runs])

    def _finish(self, runs: list[Run]) -> Iterator[None]:
        locked = []
        for run in runs:
            if self._try_run(run, wait=False):
                yield
            else:
                locked.append(run)
        for run in locked:
            self._try_run(run, wait=True)
            yield

    def _try_run(self, run: Run, *, wait: bool) -> bool:
        """Trains a run unless it is finished; false if another process has locked it."""
        key, trained = self.setup.key_of(run), None
        if not self.store.is_finished(key):
            lock = self.store.lock(key, wait=wait)
            if lock is None:
                return False
            with lock:
                # Another process may have finished it before the lock was acquired.
                if not self.store.is_finished(key):
                    trained = train_run(run, self.setup, self.store)
        self.number += 1
        self.epochs_left -= run.distill.epochs
        if trained is not None:
            self.epochs_done += run.distill.epochs
            self.seconds += trained["seconds"]
            left = self.epochs_left * self.seconds / self.epochs_done
            self.on_finished(FinishedRun(run, trained, self.number, self.total, left))
        return True

"""Time of a training step on a device that computes asynchronously."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from pipeline.errors import Stopped
from pipeline.models.classifier import Classifier
from pipeline.params import Run
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask


def synchronize(device: torch.device) -> None:
    """Waits until the device has computed everything; nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Stopwatch:
    """Times steps without waiting for the device in between: called after every step.

    After ``warmup`` steps, it times as many to find how many steps take ``seconds``. Then it times
    these.

    Attributes:
        device: Device of the steps.
        seconds: Wanted duration.
        warmup: Number of steps before the first measurement.
        now: Clock.
        step_seconds: Seconds per step, once the stopwatch has returned true.
    """

    device: torch.device
    seconds: float
    warmup: int = 3
    now: Callable[[], float] = time.perf_counter
    step_seconds: float = math.nan
    _done: int = field(default=0, init=False)
    _last: int = field(default=-1, init=False)
    _began: float = field(default=0.0, init=False)

    def __call__(self) -> bool:
        """Counts a step; returns whether the measurement is complete."""
        self._done += 1
        if self._done == self.warmup:
            self._start()
        elif self._done == 2 * self.warmup:
            estimate = self._elapsed() / self.warmup
            self._last = self._done + max(1, math.ceil(self.seconds / max(estimate, 1e-9)))
            self._start()
        elif self._done == self._last:
            self.step_seconds = self._elapsed() / (self._last - 2 * self.warmup)
            return True
        return False

    def _start(self) -> None:
        synchronize(self.device)
        self._began = self.now()

    def _elapsed(self) -> float:
        synchronize(self.device)
        return self.now() - self._began


def time_steps(step: Callable[[], object], watch: Stopwatch) -> float:
    """Seconds per call of ``step``."""
    step()
    while not watch():
        step()
    return watch.step_seconds


def run_training(
    model: Classifier, task: TrainingTask, device: torch.device, after_step: Callable[[], bool]
) -> None:
    """Trains until ``after_step``, which is called after every step, returns true.

    The data are where the stages have them by default, and the losses are checked as often.
    """
    run = Run()
    env = TrainingEnvironment(
        device,
        seed=0,
        check_every=run.check_every,
        data_on_device=run.data_on_device,
        should_stop=after_step,
    )
    with suppress(Stopped):
        train(model, task, env)


def time_training(model: Classifier, task: TrainingTask, watch: Stopwatch) -> float:
    """Seconds per step of the training loop, with everything that it does between steps."""
    run_training(model, task, watch.device, watch)
    if math.isnan(watch.step_seconds):
        raise ValueError("training ended before the measurement; raise the number of epochs")
    return watch.step_seconds

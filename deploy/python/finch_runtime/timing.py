"""Latency and resource usage of one model in this process, at batch 1."""

from __future__ import annotations

import time

import numpy as np

from finch_runtime.energy import EnergyMeter
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import Energy, ModelTiming
from finch_runtime.rows import Images
from finch_runtime.session import Session
from finch_runtime.usage import installed_bytes, peak_bytes


class Timer:
    """Times single inferences, from pixels in memory to logits and probabilities in memory.

    Args:
        session: A model that has not run yet, so that the first inference is measured.
        images: The inferences cycle through them. Use real images: sparse pixels such as zeros can
            be faster.
        baseline_bytes: Peak memory before the inference runtime was imported.
    """

    def __init__(self, session: Session, images: Images, baseline_bytes: int | None) -> None:
        if len(images) == 0:
            raise RuntimeProblem("images", "none given", "pass some real images")
        self._session, self._images, self._baseline_bytes = session, images, baseline_bytes
        self._turns: list[list[float]] = []
        self._energy = Energy(None, 0, "not measured: not requested")
        self._count = 0
        self._first_s = self.run_once(0)

    def run_once(self, index: int) -> float:
        """Latency of one inference, in seconds; ``index`` selects the image."""
        # Copied first: reading an image is not part of the inference.
        index %= len(self._images)
        image = np.array(self._images[index : index + 1])
        started = time.perf_counter()
        self._session.run(image)
        return time.perf_counter() - started

    def warm_up(self, runs: int, seconds: float) -> None:
        """Runs at least ``runs`` inferences, for at least ``seconds``."""
        end = time.perf_counter() + seconds
        index = 0
        while index < runs or time.perf_counter() < end:
            self.run_once(index)
            index += 1

    def time_turn(self, runs: int, untimed: int = 0) -> None:
        """Times ``runs`` inferences, after ``untimed`` inferences that are not timed."""
        for _ in range(untimed):
            self.run_once(self._count)
        seconds: list[float] = []
        for _ in range(runs):
            seconds.append(self.run_once(self._count))
            self._count += 1
        self._turns.append(seconds)

    def measure_energy(self) -> None:
        """Runs inferences without pauses, for as long as the meter needs; 0 s without a meter."""
        meter = EnergyMeter()
        self.warm_up(0, meter.settle_s)
        meter.start()
        runs, end = 0, time.perf_counter() + meter.stretch_s
        while time.perf_counter() < end:
            self.run_once(runs)
            runs += 1
            meter.sample()
        self._energy = meter.stop(runs)

    def result(self) -> ModelTiming:
        """All measurements so far."""
        session = self._session
        return ModelTiming(
            runtime=session.runtime,
            runtime_version=session.runtime_version,
            threads=session.threads,
            settings=dict(session.loaded.settings),
            load_s=session.loaded.load_s,
            first_s=self._first_s,
            turns=self._turns,
            energy=self._energy,
            baseline_bytes=self._baseline_bytes,
            peak_bytes=peak_bytes(),
            runtime_bytes=installed_bytes(session.runtime),
        )

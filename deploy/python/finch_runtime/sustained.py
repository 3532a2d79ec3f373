"""Latency over minutes: a machine without a fan slows down when it gets hot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from finch_runtime.conditions import Conditions, read_conditions
from finch_runtime.energy import Energy, EnergyMeter
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import Session

_MOMENTS = 60


@dataclass(frozen=True)
class Moment:
    """One part of a sustained run.

    Attributes:
        at_s: Its end, in seconds since the begin.
        p50_ms: Median of its inferences, in milliseconds.
        conditions: The machine at its end.
    """

    at_s: float
    p50_ms: float
    conditions: Conditions


@dataclass(frozen=True)
class Sustained:
    """Inference without a pause.

    Attributes:
        runs: Inferences in all.
        moments: The parts of the run, in order.
        slowdown: Share by which the median of the last tenth of the time is longer than that of
            the first tenth; negative when it is shorter.
        energy: What the run took.
    """

    runs: int
    moments: list[Moment]
    slowdown: float
    energy: Energy


def run_sustained(session: Session, images: np.ndarray[Any, Any], seconds: float) -> Sustained:
    """Runs single inferences one after the other for some time.

    Args:
        session: A model that is warm.
        images: uint8 [n, size, size, 3], RGB; taken in turn.
        seconds: How long.

    Raises:
        RuntimeProblem: There are no images.
    """
    if len(images) == 0:
        raise RuntimeProblem("images", "there are none", "pass some real photographs")
    meter = EnergyMeter()
    ends: list[float] = []
    taken: list[float] = []
    moments: list[Moment] = []
    begun_part = 0
    meter.start()
    began = time.perf_counter()
    while True:
        image = np.array(images[len(taken) % len(images)][np.newaxis])
        started = time.perf_counter()
        session.run(image)
        ended = time.perf_counter()
        taken.append(ended - started)
        ends.append(ended - began)
        meter.sample()
        is_over = ends[-1] >= seconds
        if is_over or ends[-1] >= (len(moments) + 1) * seconds / _MOMENTS:
            p50 = float(np.median(taken[begun_part:]))
            moments.append(Moment(ends[-1], 1e3 * p50, read_conditions()))
            begun_part = len(taken)
        if is_over:
            break
    return Sustained(len(taken), moments, slowdown(ends, taken), meter.stop())


def slowdown(ends: list[float], taken: list[float]) -> float:
    """Share by which inferences that end in the last tenth of the time take longer.

    Args:
        ends: When each inference ended, in seconds since the begin, ascending.
        taken: How long each took, in seconds.
    """
    at, length = np.array(ends), np.array(taken)
    first = length[: max(1, int(np.searchsorted(at, at[-1] / 10, side="right")))]
    last = length[min(len(at) - 1, int(np.searchsorted(at, 0.9 * at[-1], side="right"))) :]
    return float(np.median(last) / np.median(first)) - 1

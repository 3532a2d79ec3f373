"""Memory, energy and disk usage of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from finch_runtime.energy import total_energy
from finch_runtime.protocol import ModelTiming


@dataclass(frozen=True)
class Footprint:
    """Resource usage at batch 1.

    Attributes:
        peak_bytes: Peak resident memory, median over the processes; None if unknown.
        baseline_bytes: Peak resident memory before the inference runtime was imported.
        runtime_bytes: Disk usage of the inference runtime's package; None if unknown.
        energy_mj: Energy of the machine per inference, in millijoules; None if not measured.
        energy_source: Names of the meters, or the reason why there is no measurement.
    """

    peak_bytes: int | None
    baseline_bytes: int | None
    runtime_bytes: int | None
    energy_mj: float | None
    energy_source: str


def summarize_footprint(timings: Sequence[ModelTiming]) -> Footprint:
    """Summarizes the processes of one model."""
    energy = total_energy([timing.energy for timing in timings])
    runs = sum(np.size(timing.turns) for timing in timings)
    return Footprint(
        peak_bytes=_median([timing.peak_bytes for timing in timings]),
        baseline_bytes=_median([timing.baseline_bytes for timing in timings]),
        runtime_bytes=_median([timing.runtime_bytes for timing in timings]),
        energy_mj=None if energy.joules is None else 1e3 * energy.joules / runs,
        energy_source=energy.source,
    )


def _median(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(np.median(known)) if known else None

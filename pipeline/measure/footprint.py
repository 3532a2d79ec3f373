"""What a model takes beside time: memory, energy, and disk for its runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Footprint:
    """Memory of a process with the model in it, at batch 1, energy of an inference, and disk.

    Attributes:
        peak_bytes: Most resident memory; median over the processes. None where the system does
            not tell.
        bare_bytes: That before the inference runtime was imported.
        runtime_bytes: Size of the inference runtime's package; None where it is not known.
        energy_mj: Millijoules of an inference, with all that ran at the time; None when it was
            not measured.
        energy_source: By which meters, or why not.
    """

    peak_bytes: int | None
    bare_bytes: int | None
    runtime_bytes: int | None
    energy_mj: float | None
    energy_source: str


@dataclass(frozen=True)
class Moment:
    """A machine at one moment.

    Attributes:
        temperature_c: Of the processor, in degrees Celsius; None where there is no sensor.
        frequency_mhz: Of its fastest core; None where the system does not tell.
    """

    temperature_c: float | None
    frequency_mhz: float | None


def summarize_footprint(answers: Sequence[Mapping[str, Any]]) -> Footprint:
    """Puts together what the processes of one model tell.

    Args:
        answers: The device runtime's answers, one a process.
    """
    energies = [answer.get("energy", {}) for answer in answers]
    joules = [energy.get("joules") for energy in energies]
    runs = sum(np.size(answer["turns"]) for answer in answers)
    source = str(energies[-1].get("source", "not measured: the device runtime does not tell"))
    if None in joules:
        source = next(
            (str(e["source"]) for e in energies if "source" in e and e["joules"] is None), source
        )
    return Footprint(
        peak_bytes=_median([answer.get("peak_bytes") for answer in answers]),
        bare_bytes=_median([answer.get("bare_bytes") for answer in answers]),
        runtime_bytes=_median([answer.get("runtime_bytes") for answer in answers]),
        energy_mj=None if None in joules else 1e3 * sum(map(float, joules)) / runs,
        energy_source=source,
    )


def _median(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(np.median(known)) if known else None

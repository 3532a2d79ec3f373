"""All that ``bench`` measures of one model: as a record, and as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finch_runtime.conditions import Conditions
from finch_runtime.session import Session
from finch_runtime.sustained import Sustained
from finch_runtime.throughput import Rate, best_rate
from finch_runtime.timing import Timing


@dataclass(frozen=True)
class Benchmark:
    """The measurements of one process.

    Attributes:
        session: The model.
        timing: Single inferences.
        bare_bytes: Peak resident memory before the inference runtime was imported.
        peak_bytes: That after the single inferences.
        conditions: The machine before and after the single inferences.
        rates: Throughput by size of the batch; empty when it was not asked for.
        sustained: The sustained run, if one was asked for.
    """

    session: Session
    timing: Timing
    bare_bytes: int | None
    peak_bytes: int | None
    conditions: tuple[Conditions, Conditions]
    rates: Sequence[Rate]
    sustained: Sustained | None

    def record(self) -> dict[str, Any]:
        """A JSON value: seconds, bytes, joules."""
        session, timing = self.session, self.timing
        return {
            "seconds": timing.seconds,
            "load_s": session.load_s,
            "first_s": timing.first_s,
            "threads": session.threads,
            "runtime": session.runtime,
            "runtime_version": session.runtime_version,
            "settings": dict(session.settings),
            "bare_bytes": self.bare_bytes,
            "peak_bytes": self.peak_bytes,
            "energy": asdict(timing.energy),
            "conditions": [asdict(moment) for moment in self.conditions],
            "rates": [asdict(rate) for rate in self.rates],
            "sustained": asdict(self.sustained) if self.sustained else None,
        }

    def lines(self, photographs: int) -> Iterator[str]:
        """The figures for a person.

        Args:
            photographs: How many the inferences took in turn.
        """
        session, timing = self.session, self.timing
        threads = "1 thread" if session.threads == 1 else f"{session.threads} threads"
        yield f"{session.model.name}: {session.runtime} {session.runtime_version}, {threads}"
        yield f"{len(timing.seconds)} runs over {photographs} photographs, one at a time"
        yield f"load {session.load_s * 1000:10.3f} ms"
        yield f"first {timing.first_s * 1000:9.3f} ms"
        for title, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
            yield f"{title} {timing.quantile_ms(share):11.3f} ms"
        if self.peak_bytes is not None and self.bare_bytes is not None:
            yield (
                f"memory {self.peak_bytes / 1e6:8.1f} MB at most, {self.bare_bytes / 1e6:.1f} "
                f"before {session.runtime} was imported"
            )
        joules = timing.energy.joules
        if joules is None:
            yield f"energy {timing.energy.source}"
        else:
            each = 1e3 * joules / len(timing.seconds)
            yield f"energy {each:8.3f} mJ an inference ({timing.energy.source})"
        yield f"machine {_state(self.conditions[1])}"
        if self.rates:
            best = best_rate(self.rates)
            each_rate = ", ".join(f"{rate.batch}: {rate.images_per_s:.1f}" for rate in self.rates)
            yield f"throughput {best.images_per_s:.1f} images/s at batch {best.batch} ({each_rate})"
        if self.sustained:
            last = self.sustained.moments[-1]
            yield (
                f"sustained {last.at_s:.1f} s, {self.sustained.runs} runs: the last tenth is "
                f"{self.sustained.slowdown:+.1%} slower than the first; {_state(last.conditions)}"
            )


def _state(conditions: Conditions) -> str:
    heat, clock = conditions.temperature_c, conditions.frequency_mhz
    return (
        ("temperature unknown" if heat is None else f"{heat:.1f} °C")
        + ", "
        + ("frequency unknown" if clock is None else f"{clock:.0f} MHz")
    )

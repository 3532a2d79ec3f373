"""How and on which machine latency was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.measure.evaluation import Measured
from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import Table, text_table
from pipeline.report.templates import DASH, FIXED_SPACE

_ENDED = {
    "converged": "The latency ratios of all candidates converged",
    "max_rounds": "evaluate.max_rounds was reached before all latency ratios converged",
    "time_limit": "evaluate.max_minutes was reached before all latency ratios converged",
}


@SECTIONS.register("measurement")
@section("Measurement", order=100)
def measurement(facts: Facts) -> dict[str, Any]:
    """Protocol, machine, conditions and runtimes."""
    evaluation = facts.evaluation
    conditions = evaluation.conditions
    return {
        "evaluate": facts.params["evaluate"],
        "ended": _ENDED[evaluation.ended],
        "temperature": _range((c.temperature_c for c in conditions), "°C"),
        "frequency": _range((c.frequency_mhz for c in conditions), "MHz"),
        "runtimes": _runtimes([*evaluation.candidates, facts.measured_teacher]),
    }


def _range(samples: Iterable[float | None], unit: str) -> str:
    known = [sample for sample in samples if sample is not None]
    if not known:
        return "unknown"
    ends = dict.fromkeys(f"{end:.0f}" for end in (min(known), max(known)))
    return f"{' to '.join(ends)}{FIXED_SPACE}{unit}"


def _runtimes(models: Sequence[Measured]) -> Table:
    names: dict[tuple[str, str], list[str]] = {}
    for m in models:
        settings = ", ".join(f"{key} = {value}" for key, value in m.latency.settings.items())
        runtime = f"{m.latency.runtime} {m.latency.runtime_version}"
        names.setdefault((runtime, settings or DASH), []).append(m.name)
    return text_table(
        "Inference runtimes and their settings",
        ["Runtime", "Settings", "Models"],
        [[*runtime, ", ".join(models)] for runtime, models in names.items()],
    )

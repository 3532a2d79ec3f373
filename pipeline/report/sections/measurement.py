"""How and on which machine latency was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.measure.evaluation import Measured
from pipeline.measure.host import Host
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
        "machine": [
            *_machine(facts.host),
            ("Temperature", _range((c.temperature_c for c in conditions), "°C")),
            ("Clock frequency", _range((c.frequency_mhz for c in conditions), "MHz")),
            ("Energy", facts.shipped.footprint.energy_source),
        ],
        "runtimes": _runtimes([*evaluation.candidates, facts.measured_teacher]),
    }


def _machine(host: Host) -> list[tuple[str, str]]:
    cores = {
        "logical": host.logical_cores,
        "physical": host.physical_cores,
        "affinity": host.affinity,
        "governor": host.governor,
    }
    return [
        ("Processor", f"{host.cpu} ({host.architecture})"),
        ("Cores", ", ".join(f"{name} {value}" for name, value in cores.items() if value)),
        ("Vector instructions", ", ".join(host.flags) or "unknown"),
        ("Memory", f"{host.memory_gib} GiB"),
        ("System", f"{host.system}, Python {host.python}"),
    ]


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

"""Metrics and parameters that differ from the run in the last commit."""

from collections.abc import Iterable, Mapping

from pipeline.params.editing import flattened
from pipeline.plugins import SECTIONS
from pipeline.report.document import Part
from pipeline.report.facts import Facts
from pipeline.report.formats import MINUS, plain_value
from pipeline.report.metrics import run_metrics
from pipeline.report.sections import section
from pipeline.report.table import Column, Table, make_table, text_table


@SECTIONS.register("changes")
@section("Changes since the last commit", order=105)
def changes(facts: Facts) -> list[Part]:
    """Two tables; nothing if no run was committed."""
    last = facts.last_run
    if last is None:
        return []
    parts: list[Part] = [
        f"Against commit {last.commit}. Latencies of one model differ between measurements, too.",
        _metrics(last.metrics, run_metrics(facts)),
    ]
    now = dict(flattened(facts.manifest.params))
    shared = [name for name in last.params if name in now]
    differing = [
        [name, plain_value(last.params[name]), plain_value(now[name])]
        for name in shared
        if last.params[name] != now[name]
    ]
    if differing:
        parts.append(text_table("Changed parameters", ["Parameter", "Before", "Now"], differing))
    elif shared:
        parts.append("All parameters are the same.")
    return parts


def _metrics(before: Mapping[str, float], now: Mapping[str, float]) -> Table:
    names: Iterable[str] = [name for name in now if name in before]

    def difference(name: str) -> str:
        return f"{now[name] - before[name]:+.4g}".replace("-", MINUS)

    return make_table(
        "Metrics of the last commit and of this run",
        names,
        [
            Column("Metric", str, numeric=False),
            Column("Before", lambda name: f"{before[name]:.4g}"),
            Column("Now", lambda name: f"{now[name]:.4g}"),
            Column("Difference", difference),
        ],
        caption="reports/metrics.json; accuracies are fractions",
    )

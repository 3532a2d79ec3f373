"""How and on which machine latency was measured."""

from collections.abc import Iterable, Sequence

from pipeline.measure.evaluation import Measured
from pipeline.plugins import SECTIONS
from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import DASH, decimal, interval, percent, plural
from pipeline.report.sections import section
from pipeline.report.table import Table, text_table

_ENDED = {
    "converged": "The latency ratios of all candidates converged",
    "max_rounds": "evaluate.max_rounds was reached before all latency ratios converged",
    "time_limit": "evaluate.max_minutes was reached before all latency ratios converged",
}


@SECTIONS.register("measurement")
@section("Measurement", order=100)
def measurement(facts: Facts) -> list[Part]:
    """Protocol, machine, conditions and runtimes."""
    evaluation, host = facts.evaluation, facts.evaluation.host
    conditions = evaluation.conditions
    temperature = _range((c.temperature_c for c in conditions), "°C")
    frequency = _range((c.frequency_mhz for c in conditions), "MHz")
    cores = f"{host.logical_cores} logical, {host.physical_cores or 'unknown'} physical"
    cores += f"; affinity {host.affinity}" if host.affinity else ""
    cores += f"; governor {host.governor}" if host.governor else ""
    machine = {
        "Processor": f"{host.cpu} ({host.architecture})",
        "Cores": cores,
        "Vector instructions": ", ".join(host.flags) or "unknown",
        "Memory": f"{host.memory_gib} GiB",
        "System": f"{host.system}, Python {host.python}",
        "Temperature, frequency": f"{temperature}, {frequency}",
        "Energy": facts.shipped.footprint.energy_source,
    }
    return [
        _protocol(facts),
        _distribution(facts),
        blocks.terms(machine),
        _runtimes(evaluation.measured),
    ]


def _protocol(facts: Facts) -> str:
    evaluation, evaluate = facts.evaluation, facts.params.evaluate
    latency, speedup = facts.shipped.latency, facts.speedup
    teacher = f"{evaluation.device} cannot run the teacher."
    if speedup:
        teacher = (
            "Latency of the teacher relative to the shipped model: "
            f"{decimal(speedup.value)} (95 % CI {interval(speedup.low, speedup.high)})."
        )
    return (
        "Latency is the wall-clock time of one inference at batch size 1 on validation images, "
        "including preprocessing. The models were measured interleaved, in groups of "
        f"{plural(evaluate.runs, 'inference')}, over {plural(evaluation.rounds, 'round')} with "
        f"new processes and at least {plural(evaluate.warmup, 'warm-up inference')} each: "
        f"{latency.runs:,} timed inferences per model with {plural(evaluation.threads, 'thread')}. "
        f"Latency ratios are paired by group. {_ENDED[evaluation.ended]}: largest 95 % CI "
        f"half-width {percent(evaluation.half_width)} %, target "
        f"{percent(evaluate.max_half_width)} %. Shipped model: load time {latency.load_ms:.3f} "
        f"ms, first inference {latency.first_ms:.3f} ms, longest timed inference "
        f"{latency.max_ms:.3f} ms. {teacher}"
    )


def _distribution(facts: Facts) -> Part:
    """A chart of how the latencies of each model spread, within and between rounds."""
    models = sorted(facts.evaluation.measured, key=lambda m: m.latency.p50_ms)
    rows = []
    for m in models:
        teacher, latency = m is facts.evaluation.teacher, m.latency
        tail = Estimate(latency.p90_ms, latency.p50_ms, latency.p99_ms)
        rounds = latency.round_p50s_ms
        between = Estimate(latency.p50_ms, min(rounds), max(rounds))
        kind = "teacher" if teacher else facts.verdicts[m.name].status
        rows.append(DotRow(m.name, kind, (tail, between)))
    slowest = max(models, key=lambda m: m.latency.p99_ms / m.latency.p50_ms)
    title = (
        f"Latency percentiles of {len(models)} models. Largest p99 relative to p50: "
        f"{slowest.name}, {decimal(slowest.latency.p99_ms / slowest.latency.p50_ms)}."
    )
    panels = [Panel("p50 to p99 of\nall inferences (ms)"), Panel("p50 of\nthe rounds (ms)")]
    caption = (
        "Left: the line is from p50 to p99 of all timed inferences of a model, the point is p90. "
        "Right: the line is from the smallest to the largest p50 of a round, the point is the p50 "
        "of all inferences. Fastest first."
    )
    chart = dot_plot(rows, panels, name="latency", title=title)
    return blocks.figure(chart, caption, legend={row.kind: row.kind for row in rows})


def _range(samples: Iterable[float | None], unit: str) -> str:
    known = [sample for sample in samples if sample is not None]
    if not known:
        return "unknown"
    ends = dict.fromkeys(f"{end:.0f}" for end in (min(known), max(known)))
    return f"{' to '.join(ends)} {unit}"


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

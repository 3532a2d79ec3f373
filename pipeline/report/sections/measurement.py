"""How and on which machine latency was measured."""

from collections.abc import Iterable, Sequence

from pipeline.measure.evaluation import Measured
from pipeline.plugins import SECTIONS
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
    return [_protocol(facts), blocks.terms(machine), _runtimes(evaluation.measured)]


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

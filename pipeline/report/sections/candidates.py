"""Measurements of all candidates as tables and as a dot plot, and verdicts of the selection."""

from collections.abc import Mapping, Sequence
from functools import partial

from pipeline.class_metrics import METRIC_NAMES
from pipeline.measure.evaluation import Evaluation, Measured, NotRun
from pipeline.measure.latency import Percentile
from pipeline.params import Bundle
from pipeline.plugins import SECTIONS
from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import decimal, megabytes, percent, value
from pipeline.report.front import front_figure
from pipeline.report.sections import section
from pipeline.report.table import Cell, Column, Row, Table, estimate, make_table, missing
from pipeline.shipping.select import Verdict, drop_of

Verdicts = Mapping[str, Verdict]

_SIZES = {"max_model_mb": "files", "max_total_mb": "files and runtime", "max_memory_mb": "memory"}
_MORE = "More measurements: agreement, calibration, latency percentiles, load time, energy"


@SECTIONS.register("candidates")
@section("Candidates", order=10)
def candidates(facts: Facts) -> list[Part]:
    """Rule of the selection, and one group of tables per device."""
    label = "Measurements of the candidates"
    rule = facts.params.bundle
    parts = [_rule(rule), *_device(facts.evaluation, rule, label, facts.verdicts)]
    if facts.other_devices:
        others: list[Part] = [f"The selection is based on {facts.evaluation.device} alone."]
        for at, on in enumerate(facts.other_devices):
            others.append(front_figure(on, facts.kind, name=f"front-{at}"))
            others += _device(on, rule, f"Measurements on {on.device}", {})
        parts.append(blocks.group("Other devices", others))
    return parts


@SECTIONS.register("tradeoff")
@section("Accuracy and latency", order=20)
def tradeoff(facts: Facts) -> list[Part]:
    """A chart with one line per model, fastest first, and its legend."""
    rule, shipped = facts.params.bundle, facts.shipped
    ratios = {m.name: m.latency.ratio(rule.percentile) for m in facts.evaluation.measured}
    models = sorted(facts.evaluation.measured, key=lambda m: ratios[m.name].value)
    rows = []
    for m in models:
        teacher, size, latency = m is facts.evaluation.teacher, m.bytes / 1e6, ratios[m.name]
        found = drop_of(m, rule)
        drop = Estimate(found.points, found.lower_bound, found.bound)
        estimates = (
            Estimate(0, 0, 0) if m is facts.fp32 else drop,
            Estimate(latency.value, latency.low, latency.high),
            Estimate(size, size, size),
        )
        kind = "teacher" if teacher else facts.verdicts[m.name].status
        rows.append(DotRow(m.name, kind, estimates))
    panels = [
        Panel(
            f"{_figure(rule).capitalize()} drop\nvs. fp32 (points)",
            rule.max_drop,
            rule.max_drop_bound,
        ),
        Panel("Latency relative\nto fp32", 1 + rule.latency_tolerance, 1.0),
        Panel("Size\n(MB)", rule.max_model_mb),
    ]
    title = (
        f"{_figure(rule).capitalize()} drop vs. fp32, latency relative to fp32 and file size of "
        f"{len(models)} models. {shipped.name} is shipped: drop "
        f"{drop_of(shipped, rule).points:.2f} points, latency ratio "
        f"{ratios[shipped.name].value:.2f}, {shipped.bytes / 1e6:.2f} MB. The table lists all "
        "values."
    )
    caption = (
        "Dashed lines: largest accepted value. Horizontal lines: 90 % CI of the drop, whose upper "
        "end is the one-sided 95 % bound, and 95 % CI of the latency. Dotted lines: largest "
        "accepted bound of the drop, and largest accepted lower end of the latency's CI. Sorted by "
        "latency relative to fp32; lower is better in every column."
    )
    chart = dot_plot(rows, panels, name="tradeoff", title=title)
    return [blocks.figure(chart, caption, legend={row.kind: row.kind for row in rows})]


def _figure(rule: Bundle) -> str:
    return METRIC_NAMES[rule.metric]


def _rule(rule: Bundle) -> str:
    points = f"{value(rule.max_drop)} point{'' if rule.max_drop == 1 else 's'}"
    sizes = {text: getattr(rule, key) for key, text in _SIZES.items()}
    limits = [f"{text} {value(size)} MB" for text, size in sizes.items() if size]
    tolerance = rule.latency_tolerance
    return (
        f"A candidate is accepted if its {_figure(rule)} drop vs. the fp32 student is at most "
        f"{points}, the one-sided 95 % bound of the drop is at most {value(rule.max_drop_bound)}, "
        f"and it is not slower: the 95 % CI of its {rule.percentile} latency relative to fp32 does "
        f"not lie above 1, and the latency is at most {value(1 + tolerance)} times that of fp32."
        f"{' Size limits: ' if limits else ''}{', '.join(limits)}{'.' if limits else ''} Among the "
        f"accepted candidates whose latency is within {percent(tolerance)} % of the lowest, the "
        "smallest is shipped."
    )


def _device(on: Evaluation, rule: Bundle, label: str, verdicts: Verdicts) -> list[Part]:
    models = on.measured
    more = [_details(models, rule, f"More measurements: {label}")]
    if len(models[0].throughput.sweep) > 1:
        more.append(_threads(models, f"{label}, by number of threads"))
    return [
        _measurements(on, rule, label, verdicts),
        blocks.details(_MORE, more),
        *(f"{note}." for note in on.notes),
    ]


def _measurements(on: Evaluation, rule: Bundle, label: str, verdicts: Verdicts) -> Table:
    percentile = rule.percentile

    def note(m: Measured) -> tuple[str, str] | None:
        found = verdicts.get(m.name)
        return (found.status.capitalize(), found.reason) if found else None

    def rate(m: Measured) -> Cell:
        if best := m.throughput.best:
            return Cell(f"{best.images_per_s:.0f}", f"batch {best.batch}")
        return missing("not measured")

    def drop(m: Measured) -> str | Cell:
        return "0" if m.name == on.reference else estimate(drop_of(m, rule))

    def ratio(m: Measured) -> str | Cell:
        return "1" if m.name == on.reference else estimate(m.latency.ratio(percentile))

    return make_table(
        label,
        on.measured,
        [
            Column("Candidate", _described, "runtime, precision, batch size", numeric=False),
            Column("Accuracy", lambda m: percent(m.accuracy), "%"),
            Column("Balanced accuracy", lambda m: percent(m.balanced_accuracy), "%"),
            Column(f"{_figure(rule).capitalize()} drop vs. fp32", drop, "points, 95 % CI"),
            Column(f"{percentile} latency", lambda m: f"{m.latency.of(percentile):.3f}", "ms"),
            Column("Latency relative to fp32", ratio, "95 % CI"),
            Column("Throughput", rate, "images/s"),
            Column("Peak memory", lambda m: _memory(m.footprint.peak_bytes), "MB"),
            Column("Size", lambda m: megabytes(m.bytes), "MB"),
        ],
        highlighted=lambda m: m.name in verdicts and verdicts[m.name].status == "shipped",
        note=note,
        more=[
            Row(
                [_described(m), *[missing("not measured")] * 7, megabytes(m.bytes)],
                note=("Cannot run", f"{on.device}: {m.problem}"),
            )
            for m in on.not_run
        ],
        caption=f"{on.device}: {on.host.cpu}, {on.images:,} validation images",
    )


def _details(models: Sequence[Measured], rule: Bundle, label: str) -> Table:
    columns: list[Column[Measured]] = [
        Column("Candidate", lambda m: m.name, numeric=False),
        Column("Agreement with fp32", lambda m: percent(m.agreement), "%"),
        Column(
            "One-sided 95 % bound of the drop",
            lambda m: decimal(drop_of(m, rule).bound),
            "points",
        ),
        Column("Top-5 accuracy", lambda m: percent(m.top5), "%"),
        Column(
            "Expected calibration error (ECE)", lambda m: percent(m.calibration_error), "points"
        ),
        *(
            Column(f"{each} latency", partial(_latency, each), "ms")
            for each in ("p50", "p90", "p99")
        ),
        Column("Load time", lambda m: f"{m.latency.load_ms:.3f}", "ms"),
        Column("First inference", lambda m: f"{m.latency.first_ms:.3f}", "ms"),
        Column("Baseline memory", lambda m: _memory(m.footprint.baseline_bytes), "MB"),
        Column("Energy", _energy, "mJ per inference"),
    ]
    if models[0].throughput.sustained:
        columns.append(Column("Slowdown in the sustained run", _slowdown, "%"))
    return make_table(label, models, columns)


def _threads(models: Sequence[Measured], label: str) -> Table:
    sweep = models[0].throughput.sweep
    columns = [Column(str(run.threads), partial(_threaded, at)) for at, run in enumerate(sweep)]
    candidate: Column[Measured] = Column("Candidate", lambda m: m.name, numeric=False)
    caption = "By number of threads: p50 latency in ms, and images/s at the best batch size"
    return make_table(label, models, [candidate, *columns], caption=caption)


def _latency(percentile: Percentile, m: Measured) -> str:
    return f"{m.latency.of(percentile):.3f}"


def _threaded(at: int, m: Measured) -> Cell:
    if at >= len(m.throughput.sweep):
        return missing("not measured")
    run = m.throughput.sweep[at]
    rate = f"{run.best.images_per_s:.0f}/s, batch {run.best.batch}" if run.best else ""
    return Cell(f"{run.p50_ms:.3f}", rate)


def _described(m: Measured | NotRun) -> Cell:
    return Cell(m.name, f"{m.runtime}, {m.precision}, {m.batch}")


def _memory(count: int | None) -> str | Cell:
    return missing("not available on this system") if count is None else f"{count / 1e6:.0f}"


def _energy(m: Measured) -> str | Cell:
    energy = m.footprint.energy_mj
    return missing(m.footprint.energy_source) if energy is None else f"{energy:.3f}"


def _slowdown(m: Measured) -> str:
    return percent(m.throughput.sustained.slowdown if m.throughput.sustained else None)

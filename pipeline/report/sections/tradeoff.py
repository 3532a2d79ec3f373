"""Accuracy drop, latency and size of all candidates as a dot plot."""

from pipeline.plugins import SECTIONS
from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.sections import section


@SECTIONS.register("tradeoff")
@section("Accuracy and latency", order=20)
def tradeoff(facts: Facts) -> list[Part]:
    """A chart with one line per model, fastest first, and its legend."""
    bundle, shipped, teacher = facts.params["bundle"], facts.shipped, facts.measured_teacher
    models = sorted([*facts.evaluation.candidates, teacher], key=lambda m: m.ratio.value)
    rows = []
    for m in models:
        kind = "teacher" if m is teacher else facts.verdicts[m.name]["status"]
        drop = Estimate(m.drop.points, m.drop.low, m.drop.high)
        ratio = Estimate(m.ratio.value, m.ratio.low, m.ratio.high)
        size = m.bytes / 1e6
        drop = Estimate(0, 0, 0) if m is facts.fp32 else drop
        estimates = (drop, ratio, Estimate(size, size, size))
        rows.append(DotRow(m.name, kind, estimates))
    panels = [
        Panel("Accuracy drop\nvs. fp32 (points)", bundle["max_drop"], bundle["max_drop_bound"]),
        Panel("Latency relative\nto fp32", 1.0),
        Panel("Size\n(MB)", bundle["max_model_mb"]),
    ]
    title = (
        f"Accuracy drop vs. fp32, latency relative to fp32 and file size of {len(models)} models. "
        f"{shipped.name} is shipped: drop {shipped.drop.points:.2f} points, latency ratio "
        f"{shipped.ratio.value:.2f}, {shipped.bytes / 1e6:.2f} MB. The table lists all values."
    )
    caption = (
        "Dashed lines: largest accepted value. Dotted line: largest accepted upper end of the CI. "
        "Horizontal lines: 95 % CI. Sorted by latency relative to fp32; lower is better in every "
        "column."
    )
    chart = dot_plot(rows, panels, name="tradeoff", title=title)
    return [blocks.figure(chart, caption, legend={row.kind: row.kind for row in rows})]

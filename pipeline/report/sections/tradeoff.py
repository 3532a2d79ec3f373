"""Accuracy drop, latency and size of all candidates as a dot plot."""

from __future__ import annotations

from typing import Any

from pipeline.measure.evaluation import Measured
from pipeline.plugins import SECTIONS
from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.facts import Facts
from pipeline.report.sections import section


@SECTIONS.register("tradeoff")
@section("Accuracy and latency", order=20)
def tradeoff(facts: Facts) -> dict[str, Any]:
    """A chart with one line per model, fastest first, and its legend."""
    bundle, shipped, teacher = facts.params["bundle"], facts.shipped, facts.measured_teacher
    models = sorted([*facts.evaluation.candidates, teacher], key=lambda m: m.ratio.value)
    rows = [
        DotRow(
            m.name,
            "teacher" if m is teacher else facts.verdict(m.name)["status"],
            _estimates(m, is_reference=m is facts.fp32),
        )
        for m in models
    ]
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
    return {
        "chart": dot_plot(rows, panels, name="tradeoff", title=title),
        "kinds": list(dict.fromkeys(row.kind for row in rows)),
    }


def _estimates(m: Measured, *, is_reference: bool) -> tuple[Estimate, Estimate, Estimate]:
    size = m.bytes / 1e6
    return (
        Estimate(0, 0, 0) if is_reference else Estimate(m.drop.points, m.drop.low, m.drop.high),
        Estimate(m.ratio.value, m.ratio.low, m.ratio.high),
        Estimate(size, size, size),
    )

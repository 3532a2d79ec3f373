"""The scout's measurements as Markdown and as an HTML page with a chart."""

from __future__ import annotations

from functools import partial
from typing import Any

from markupsafe import Markup

from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.table import Column, Table, make_table
from pipeline.report.table import as_markdown as table_as_markdown
from pipeline.report.templates import DASH, load_template, plural


def as_markdown(facts: dict[str, Any]) -> str:
    """Verdict, lines for ``params.yaml`` and students of ``scout.json``, in Markdown."""
    parts = [
        f"{facts['verdict']}.",
        f"```yaml\n{facts['lines']}```" if facts["lines"] else "",
        table_as_markdown(_table(facts)),
        _caption(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_page(facts: dict[str, Any]) -> str:
    """The same as an HTML page that loads nothing, with a chart."""
    return load_template("scouting.html.jinja").render(
        facts=facts, chart=_chart(facts), students=_table(facts), caption=_caption(facts)
    )


def _table(facts: dict[str, Any]) -> Table:
    columns: list[Column[dict[str, Any]]] = [
        Column("Model", lambda s: s["model"], numeric=False),
        Column("Image size", lambda s: str(s["image_size"]), "px"),
        Column("Multiply-adds", partial(_millions, "multiply_adds"), "M"),
        Column("Parameters", partial(_millions, "parameters"), "M"),
        Column("p50", lambda s: _p50(s["best"], s), "ms"),
        Column("95 % CI", _interval, "ms"),
        Column("Within budget", lambda s: "yes" if s["meets"] else "no", numeric=False),
        Column("Fastest candidate", _fastest, numeric=False),
        *(Column(name, partial(_p50, name), "ms") for name in facts["candidates"]),
    ]
    students = facts["students"]
    proposed = None if facts["proposal"] is None else students[facts["proposal"]]
    return make_table("Students", students, columns, highlighted=lambda s: s is proposed)


def _timing(name: str | None, student: dict[str, Any]) -> dict[str, Any] | None:
    return next((timing for timing in student["timings"] if timing["name"] == name), None)


def _p50(name: str | None, student: dict[str, Any]) -> str:
    timing = _timing(name, student)
    return f"{timing['p50_ms']:.3f}" if timing else DASH


def _interval(student: dict[str, Any]) -> str:
    timing = _timing(student["best"], student)
    return f"{timing['low_ms']:.3f} to {timing['high_ms']:.3f}" if timing else DASH


def _fastest(student: dict[str, Any]) -> str:
    return student["best"] or f"cannot be measured: {student['problem']}"


def _millions(key: str, student: dict[str, Any]) -> str:
    return DASH if student[key] is None else f"{student[key] / 1e6:.2f}"


def _chart(facts: dict[str, Any]) -> Markup | None:
    """A dot plot, largest student first; None if nothing was measured."""
    rows = []
    for index, student in enumerate(facts["students"]):
        timing = _timing(student["best"], student)
        if timing:
            kind = "accepted" if student["meets"] else "rejected"
            cost = student["multiply_adds"] / 1e6
            rows.append(
                DotRow(
                    f"{student['model']}, {student['image_size']} px",
                    "proposed" if index == facts["proposal"] else kind,
                    (
                        Estimate(timing["p50_ms"], timing["low_ms"], timing["high_ms"]),
                        Estimate(cost, cost, cost),
                    ),
                )
            )
    if not rows:
        return None
    panels = [
        Panel("p50 latency\n(ms, 95 % CI)", facts["latency_ms"]),
        Panel("Multiply-adds\n(million)"),
    ]
    title = (
        f"Median latency and multiply-adds of {len(rows)} untrained students, with the budget of "
        f"{facts['latency_ms']:g} ms; {facts['verdict']}. The table lists all values."
    )
    rows.sort(key=lambda row: -row.estimates[1].value)
    return dot_plot(rows, panels, name="scout", title=title)


def _caption(facts: dict[str, Any]) -> str:
    host = facts["host"]
    runtimes = ", ".join(f"{name} {version}" for name, version in host["runtimes"].items())
    return (
        f"Untrained students for the {facts['data']['classes']} classes of "
        f"{facts['data']['source']}, converted to the candidates of `quantize` and timed on images "
        f"at batch size 1 with {plural(facts['threads'], 'thread')}: "
        f"{plural(facts['rounds'], 'interleaved round')} of {plural(facts['runs'], 'inference')} "
        "per candidate. p50: geometric mean of the rounds' medians, with a Student t interval over "
        "the rounds. Fastest candidate: the one whose interval has the lowest upper end. A student "
        f"is within the budget if this end is at most {facts['latency_ms']:g} ms; the largest "
        "student is the one with the most multiply-adds. Accuracy is not measured. "
        f"{host['cpu']}, {host['logical_cores']} cores, {runtimes}."
    )

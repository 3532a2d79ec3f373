"""The scout's measurements as Markdown and as an HTML page with a chart."""

from functools import partial
from typing import Any

from finch_runtime.image_size import as_text, in_pixels
from markupsafe import Markup

from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.document import Page, Part, blocks
from pipeline.report.formats import DASH, code_spans, plural, value
from pipeline.report.table import Column, Table, make_table


def as_markdown(facts: dict[str, Any]) -> str:
    """Verdict, lines for ``params.yaml`` and students of ``scout.json``, in Markdown."""
    lines = [f"```yaml\n{facts['lines']}```"] if facts["lines"] else []
    parts = [f"{facts['verdict']}.", *lines, _table(facts).markdown(), _caption(facts)]
    return "\n\n".join(parts) + "\n"


def as_page(facts: dict[str, Any]) -> str:
    """The same content as a self-contained HTML page with a chart."""
    title = f"Students for {facts['data']['source']} within {value(facts['latency_ms'])} ms"
    verdict = Markup("<strong>{}.</strong>").format(facts["verdict"])
    lines: list[Part] = []
    if facts["lines"]:
        code = Markup("<pre><code>{}</code></pre>").format(facts["lines"])
        lines = ["For params.yaml:", code]
    return Page(
        kicker="Scout",
        heading=title,
        intro=[
            blocks.paragraph(verdict, "lead"),
            *_proposal(facts),
            *lines,
            *_chart(facts),
            _table(facts),
            blocks.paragraph(code_spans(_caption(facts))),
        ],
    ).render()


def _proposal(facts: dict[str, Any]) -> list[Part]:
    """The figures of the proposed student, if there is one."""
    if facts["proposal"] is None:
        return []
    s = facts["students"][facts["proposal"]]
    budget = f"95 % CI {_interval(s)}; budget {value(facts['latency_ms'])} ms"
    tiles = [
        ("Proposed student", s["model"], in_pixels(s["image_size"])),
        ("p50 latency", f"{_p50(s['best'], s)} ms", f"{s['best']}: {budget}"),
        ("Multiply-adds per image", f"{_millions('multiply_adds', s)} M", ""),
        ("Parameters", f"{_millions('parameters', s)} M", ""),
    ]
    return [blocks.tiles(tiles)]


def _table(facts: dict[str, Any]) -> Table:
    failed = "cannot be measured: {problem}"
    columns: list[Column[dict[str, Any]]] = [
        Column("Model", lambda s: s["model"], numeric=False),
        Column("Image size", lambda s: as_text(s["image_size"]), "px"),
        Column("p50", lambda s: _p50(s["best"], s), "ms"),
        Column("95 % CI", _interval, "ms"),
        Column("Within budget", lambda s: "yes" if s["meets"] else "no", numeric=False),
        Column("Fastest candidate", lambda s: s["best"] or failed.format(**s), numeric=False),
        Column("Multiply-adds", partial(_millions, "multiply_adds"), "M"),
        Column("Parameters", partial(_millions, "parameters"), "M"),
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


def _millions(key: str, student: dict[str, Any]) -> str:
    return DASH if student[key] is None else f"{student[key] / 1e6:.2f}"


def _chart(facts: dict[str, Any]) -> list[Part]:
    """A dot plot, largest student first; nothing if nothing was measured."""
    rows = []
    for index, s in enumerate(facts["students"]):
        if timing := _timing(s["best"], s):
            kind = "accepted" if s["meets"] else "rejected"
            kind = "proposed" if index == facts["proposal"] else kind
            p50 = Estimate(timing["p50_ms"], timing["low_ms"], timing["high_ms"])
            cost = s["multiply_adds"] / 1e6
            name = f"{s['model']}, {in_pixels(s['image_size'])}"
            rows.append(DotRow(name, kind, (p50, Estimate(cost, cost, cost))))
    if not rows:
        return []
    rows.sort(key=lambda row: -row.estimates[1].value)
    latency = Panel("p50 latency\n(ms, 95 % CI)", facts["latency_ms"])
    title = (
        f"Median latency and multiply-adds of {len(rows)} untrained students, with the budget of "
        f"{facts['latency_ms']:g} ms; {facts['verdict']}. The table lists all values."
    )
    legend = {} if facts["proposal"] is None else {"proposed": "proposed"}
    legend |= {"accepted": "within the budget", "rejected": "too slow"}
    panels = [latency, Panel("Multiply-adds\n(million)")]
    chart = dot_plot(rows, panels, name="scout", title=title)
    return [blocks.figure(chart, "Dashed line: budget.", legend)]


def _caption(facts: dict[str, Any]) -> str:
    host = facts["host"]
    left_out = ", ".join(facts["left_out"])
    note = f"Left out, since they need a trained student: {left_out}. " if left_out else ""
    packages = ", ".join(f"{name} {version}" for name, version in host["packages"].items())
    return (
        f"Untrained students for the {facts['data']['classes']} classes of "
        f"{facts['data']['source']}, converted to the candidates of `quantize` and timed on images "
        f"at batch size 1 with {plural(facts['threads'], 'thread')}: "
        f"{plural(facts['rounds'], 'interleaved round')} of {plural(facts['runs'], 'inference')} "
        "per candidate. p50: geometric mean of the rounds' medians, with a Student t interval over "
        "the rounds. The fastest candidate has the lowest upper end of this interval. A student is "
        f"within the budget if this end is at most {facts['latency_ms']:g} ms. The largest student "
        f"has the most multiply-adds. Accuracy is not measured. {note}{host['cpu']}, "
        f"{host['logical_cores']} cores, {packages}."
    )

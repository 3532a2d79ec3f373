"""The report page: one HTML file that loads nothing. The same facts give the same bytes."""

from __future__ import annotations

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts, summary
from pipeline.report.sections import ReportSection
from pipeline.report.table import Column, Table, estimate, make_table
from pipeline.report.templates import DASH, load_template, megabytes, percent


def render(facts: Facts) -> str:
    """Renders a header and all registered sections, in their order."""
    sections: dict[str, ReportSection] = {name: SECTIONS[name] for name in SECTIONS.names()}
    names = sorted(sections, key=lambda name: (sections[name].order, name))
    bodies = {name: sections[name].render(facts) for name in names}
    return load_template("page.html.jinja").render(
        facts=facts,
        metrics=summary(facts),
        models=_models(facts),
        sections=[
            {"id": name, "title": sections[name].title, "body": body}
            for name, body in bodies.items()
            if body is not None
        ],
    )


def _models(facts: Facts) -> Table:
    """Shipped model, fp32 student and teacher."""
    verified, student, teacher = facts.verified, facts.student.figures, facts.teacher.figures
    shipped = f"shipped: {facts.shipped.name}"
    models = [
        (shipped, verified.shipped, None, facts.shipped, student),
        ("fp32 student", verified.student, verified.drop_to_student, facts.fp32, student),
        ("teacher", verified.teacher, verified.drop_to_teacher, facts.measured_teacher, teacher),
    ]
    return make_table(
        "Shipped model, fp32 student and teacher",
        models,
        [
            Column("Model", lambda m: m[0], numeric=False),
            Column("Accuracy", lambda m: percent(m[1].accuracy), "%"),
            Column("Balanced accuracy", lambda m: percent(m[1].balanced_accuracy), "%"),
            Column(
                "Accuracy drop of the shipped model",
                lambda m: estimate(m[2].points, m[2].low, m[2].high) if m[2] else DASH,
                "points, 95 % CI",
            ),
            Column("p50 latency", lambda m: f"{m[3].latency.p50_ms:.3f}", "ms"),
            Column("Size", lambda m: megabytes(m[3].bytes), "MB"),
            Column("Multiply-adds", lambda m: f"{m[4]['multiply_adds'] / 1e6:.1f}", "million"),
            Column("Parameters", lambda m: f"{m[4]['parameters'] / 1e6:.1f}", "million"),
        ],
        highlighted=lambda m: m[0] == shipped,
        caption=f"Accuracy on {verified.images:,} test images; latency on {facts.host.cpu}",
    )

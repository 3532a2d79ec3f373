"""Recall per class on the test images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import Cell, Column, Row, make_table, missing
from pipeline.report.templates import percent


@SECTIONS.register("classes")
@section("Recall per class", order=50)
def classes(facts: Facts) -> dict[str, Any]:
    """One row per class for shipped model, fp32 student and teacher."""
    verified = facts.verified
    models = (verified.shipped, verified.student, verified.teacher)
    counts = facts.dataset["splits"]["test"]["per_class"]
    names = facts.dataset["classes"]

    def cell(recall: float | None) -> str | Cell:
        return missing("no images") if recall is None else percent(recall)

    table = make_table(
        "Recall per class",
        range(len(names)),
        [
            Column("Class", lambda label: names[label], numeric=False),
            Column("Images", lambda label: f"{counts[label]:,}"),
            Column("Shipped", lambda label: cell(verified.shipped.recalls[label]), "%"),
            Column("fp32 student", lambda label: cell(verified.student.recalls[label]), "%"),
            Column("Teacher", lambda label: cell(verified.teacher.recalls[label]), "%"),
        ],
    )
    footer = [
        Row(["Accuracy", f"{verified.images:,}", *(percent(m.accuracy) for m in models)]),
        Row(["Balanced accuracy", "", *(percent(m.balanced_accuracy) for m in models)]),
    ]
    return {"recalls": replace(table, footer=footer)}

"""Searches for the layers of int8 candidates that have to be kept in float."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import Cell, Column, Table, estimate, make_table
from pipeline.report.templates import megabytes, percent

_SHOWN = 5  # most sensitive layers


@SECTIONS.register("mixed_precision")
@section("Mixed precision", order=30)
def mixed_precision(facts: Facts) -> dict[str, Any] | None:
    """The most sensitive layers and a table of steps per search; None without searches."""
    searches = [
        {
            **search,
            "drop": _estimate(search["drop"]),
            "sensitivities": search["sensitivities"][:_SHOWN],
            "table": _steps(search) if search["steps"] else None,
        }
        for search in facts.candidates["mixed_precision"]
    ]
    return {"searches": searches} if searches else None


def _estimate(drop: Mapping[str, float]) -> Cell:
    return estimate(drop["points"], drop["low"], drop["high"])


def _steps(search: Mapping[str, Any]) -> Table:
    layers = [[], *(step["float_layers"] for step in search["steps"])]
    added = [after[len(before) :] for before, after in pairwise(layers)]
    return make_table(
        f"Mixed precision of {search['candidate']}: layers kept in float",
        zip(search["steps"], added, strict=True),
        [
            Column("Float layers", lambda step: str(len(step[0]["float_layers"]))),
            Column("Added in this step", lambda step: ", ".join(step[1]), numeric=False),
            Column("Multiply-adds in float", lambda step: percent(step[0]["multiply_adds"]), "%"),
            Column("Weights in float", lambda step: percent(step[0]["weights"]), "%"),
            Column("Size", lambda step: megabytes(step[0]["bytes"]), "MB"),
            Column(
                "Accuracy drop vs. fp32", lambda step: _estimate(step[0]["drop"]), "points, 95 % CI"
            ),
        ],
    )

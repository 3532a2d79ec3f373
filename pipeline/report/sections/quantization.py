"""How the int8 candidates were made: options, layers kept in float, quantization-aware training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import Cell, Column, Table, estimate, make_table
from pipeline.report.templates import megabytes, percent, value

_SHOWN = 5  # most sensitive layers


@SECTIONS.register("quantization")
@section("Quantization", order=30)
def quantization(facts: Facts) -> dict[str, Any] | None:
    """Options of the candidates, searches for layers to keep in float, and ``qat.json``."""
    candidates = [c for c in facts.candidates["candidates"] if c["options"]]
    searches = [
        {
            **search,
            "drop": _estimate(search["drop"]),
            "sensitivities": search["sensitivities"][:_SHOWN],
            "table": _steps(search) if search["steps"] else None,
        }
        for search in facts.candidates["mixed_precision"]
    ]
    if not candidates and not searches:
        return None
    options = [(candidate["name"], _options(candidate)) for candidate in candidates]
    return {"options": options, "searches": searches, "qat": facts.qat}


def _options(candidate: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} {value(option)}" for name, option in candidate["options"].items())
    layers = candidate["float_layers"]
    return f"{options}; layers kept in float: {', '.join(layers)}" if layers else options


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

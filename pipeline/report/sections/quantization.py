"""How the int8 candidates were made: options, layers kept in float, quantization-aware training."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from pipeline.plugins import SECTIONS
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import drop, megabytes, percent, plural, value
from pipeline.report.sections import section
from pipeline.report.table import Column, Table, estimate, make_table
from pipeline.statistics import AccuracyDrop

_SHOWN = 5  # number of sensitive layers in the text


@SECTIONS.register("quantization")
@section("Quantization", order=30)
def quantization(facts: Facts) -> list[Part]:
    """Options of the candidates, searches for layers to keep in float, and ``qat.json``."""
    options = {c["name"]: _options(c) for c in facts.candidates["candidates"] if c["options"]}
    searches = facts.candidates["mixed_precision"]
    if not options and not searches:
        return []
    parts = ["Options of the int8 candidates:", blocks.terms(options), *map(_search, searches)]
    return [*parts, _qat(facts.qat)] if facts.qat else [*parts]


def _options(candidate: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} {value(option)}" for name, option in candidate["options"].items())
    layers = candidate["float_layers"]
    return f"{options}; layers kept in float: {', '.join(layers)}" if layers else options


def _search(search: Mapping[str, Any]) -> Markup:
    title = f"Mixed precision of {search['candidate']}: layers kept in float"
    text = (
        f"Accuracy drop with all layers in int8: {drop(AccuracyDrop(**search['drop']))}. Result: "
        f"{search['outcome']}."
    )
    if sensitivities := search["sensitivities"][:_SHOWN]:
        layers = ", ".join(f"{each['layer']} ({each['error']:.3f})" for each in sensitivities)
        text += (
            " Most sensitive layers, by the relative error of the logits when only this layer is "
            f"in int8 ({search['images']:,} images): {layers}. The number of float layers was "
            "selected on the same images as the accuracy drop, which is therefore slightly "
            "optimistic."
        )
    table = [_steps(title, search["steps"])] if search["steps"] else []
    return blocks.group(title, [text, *table])


def _steps(title: str, steps: list[dict[str, Any]]) -> Table:
    layers = [[], *(step["float_layers"] for step in steps)]
    added = [after[len(before) :] for before, after in pairwise(layers)]
    rows = [
        {**step, "added": ", ".join(names), "drop": estimate(AccuracyDrop(**step["drop"]))}
        for step, names in zip(steps, added, strict=True)
    ]
    return make_table(
        title,
        rows,
        [
            Column("Float layers", lambda row: str(len(row["float_layers"]))),
            Column("Added in this step", lambda row: row["added"], numeric=False),
            Column("Multiply-adds in float", lambda row: percent(row["multiply_adds"]), "%"),
            Column("Weights in float", lambda row: percent(row["weights"]), "%"),
            Column("Size", lambda row: megabytes(row["bytes"]), "MB"),
            Column("Accuracy drop vs. fp32", lambda row: row["drop"], "points, 95 % CI"),
        ],
    )


def _qat(qat: Mapping[str, Any]) -> Markup:
    kept = "No epoch improved the accuracy, so the initial weights were kept."
    if qat["best_epoch"]:
        kept = (
            f"The weights of epoch {qat['best_epoch']} were kept. They were selected on the same "
            "images, so this accuracy is slightly optimistic."
        )
    text = (
        f"Validation accuracy: {percent(qat['accuracy_fp32'])} % in fp32, "
        f"{percent(qat['accuracy_int8_initial'])} % with int8 fake quantization, and "
        f"{percent(qat['accuracy_int8'])} % after {plural(qat['epochs'], 'epoch')} of training "
        f"with the method {qat['method']}. {kept}"
    )
    files = Markup('The table under <a href="#parity">Parity</a> includes the exported files.')
    return blocks.group("Quantization-aware training", [text, blocks.paragraph(files)])

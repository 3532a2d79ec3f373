"""How the int8 candidates were made: options, layers kept in float, quantization-aware training."""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from pipeline.plugins import SECTIONS
from pipeline.quantize.mixed_precision import MixedPrecisionSearch, SearchStep
from pipeline.report.artifacts import QAT, MadeCandidate
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import drop, megabytes, percent, plural, value
from pipeline.report.sections import section
from pipeline.report.table import Column, Table, estimate, make_table

_SHOWN = 5  # number of sensitive layers in the text


@SECTIONS.register("quantization")
@section("Quantization", order=30)
def quantization(facts: Facts) -> list[Part]:
    """Options of the candidates, searches for layers to keep in float, and ``qat.json``."""
    options = {c.name: _options(c) for c in facts.candidates.candidates if c.options}
    searches = facts.candidates.mixed_precision
    if not options and not searches:
        return []
    parts = ["Options of the int8 candidates:", blocks.terms(options), *map(_search, searches)]
    return [*parts, _qat(facts.qat)] if facts.qat else [*parts]


def _options(candidate: MadeCandidate) -> str:
    options = ", ".join(f"{name} {value(option)}" for name, option in candidate.options.items())
    layers = candidate.float_layers
    return f"{options}; layers kept in float: {', '.join(layers)}" if layers else options


def _search(search: MixedPrecisionSearch) -> Markup:
    title = f"Mixed precision of {search.candidate}: layers kept in float"
    figure = search.drop.figure
    text = (
        f"{figure.capitalize()} drop with all layers in int8: {drop(search.drop)}. Result: "
        f"{search.outcome}."
    )
    if sensitivities := search.sensitivities[:_SHOWN]:
        layers = ", ".join(f"{each.layer} ({each.error:.3f})" for each in sensitivities)
        text += (
            " Most sensitive layers, by the relative error of the logits when only this layer is "
            f"in int8 ({search.images:,} images): {layers}. The number of float layers was "
            f"selected on the same images as the {figure} drop, which is therefore slightly "
            "optimistic."
        )
    table = [_steps(title, search.steps)] if search.steps else []
    return blocks.group(title, [text, *table])


def _steps(title: str, steps: Sequence[SearchStep]) -> Table:
    layers: list[Sequence[str]] = [[], *(step.float_layers for step in steps)]
    added = [after[len(before) :] for before, after in pairwise(layers)]
    rows = list(zip(steps, added, strict=True))
    return make_table(
        title,
        rows,
        [
            Column("Float layers", lambda row: str(len(row[0].float_layers))),
            Column("Added in this step", lambda row: ", ".join(row[1]), numeric=False),
            Column("Multiply-adds in float", lambda row: percent(row[0].multiply_adds), "%"),
            Column("Weights in float", lambda row: percent(row[0].weights), "%"),
            Column("Size", lambda row: megabytes(row[0].bytes), "MB"),
            Column(
                f"{steps[0].drop.figure.capitalize()} drop vs. fp32",
                lambda row: estimate(row[0].drop),
                "points, 95 % CI",
            ),
        ],
    )


def _qat(qat: QAT) -> Markup:
    kept = "No epoch improved the accuracy, so the initial weights were kept."
    if qat.best_epoch:
        kept = (
            f"The weights of epoch {qat.best_epoch} were kept. They were selected on the same "
            "images, so this accuracy is slightly optimistic."
        )
    text = (
        f"Validation accuracy: {percent(qat.accuracy_fp32)} % in fp32, "
        f"{percent(qat.accuracy_int8_initial)} % with int8 fake quantization, and "
        f"{percent(qat.accuracy_int8)} % after {plural(qat.epochs, 'epoch')} of training "
        f"with the method {qat.method}. {kept}"
    )
    files = Markup('The table under <a href="#parity">Parity</a> includes the exported files.')
    return blocks.group("Quantization-aware training", [text, blocks.paragraph(files)])

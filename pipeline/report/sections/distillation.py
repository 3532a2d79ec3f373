"""Distillation method of the student, its options, and the class order."""

from typing import Any

from markupsafe import Markup

from pipeline.params import ClassOrder, params_model
from pipeline.plugins import SECTIONS
from pipeline.plugins.section import Section
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import code_spans, percent, plural, value
from pipeline.report.sections import section
from pipeline.report.table import text_table

_FIGKD = (
    "FiGKD (fine-grained knowledge distillation via high-frequency detail transfer) is "
    "reconstructed here from the abstract of arXiv 2505.11897: besides the labels, the student "
    "learns the detail bands of a wavelet transform of the teacher's logits along the class axis. "
    "The paper's equations and hyperparameters were not available; everything that the abstract "
    "leaves open is a parameter."
)
_KD_TERM = (
    " A KL divergence between standardized logits (“Logit Standardization in Knowledge "
    "Distillation”, CVPR 2024) is added, which the abstract does not mention."
)
_SIMILARITY = {"logits": "mean logits", "weights": "classifier weights"}


@SECTIONS.register("distillation")
@section("Distillation", order=70)
def distillation(facts: Facts) -> list[Part]:
    """Options of the method, and the class names in the order of the wavelet transform."""
    recipe = facts.student.recipe
    method, class_order = recipe.method, recipe.class_order
    section = getattr(recipe, method, None)
    options = section.public() if isinstance(section, Section) else {}
    description: list[Part] = []
    if method == "figkd":
        text = _FIGKD + (_KD_TERM if options.get("kd_weight") else "")
        description.append(blocks.paragraph(text, "aside"))
    elif method == "cross_entropy":
        description.append("The student was trained with the labels alone, without the teacher.")
    if options:
        rows = [[name, value(option), _describe(method, name)] for name, option in options.items()]
        headings = ["Option", "Value", "Description"]
        table = text_table("Options of the method", headings, rows)
        description.append(blocks.details(plural(len(rows), "option"), [table]))
    if energy := facts.student.figures.band_energy:
        bands = ", ".join(f"{name} {percent(part)} %" for name, part in energy.items())
        description.append(
            f"Energy of the teacher's centered logits by wavelet band, coarsest first: {bands}."
        )
    names = [facts.dataset.classes[index] for index in facts.class_order.order]
    summary = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''} ({len(names)} classes)"
    sha256 = blocks.hash(facts.class_order.sha256)
    order = Markup("{} SHA-256 of the class names in this order: {}").format(
        _class_order(method, class_order), sha256
    )
    return [
        blocks.group(f"Method: {method}", description),
        blocks.group(
            f"Class order: {class_order.kind}",
            [blocks.paragraph(order), blocks.details(summary, [blocks.order(names)])],
        ),
    ]


def _class_order(method: str, order: ClassOrder) -> Markup:
    use = "This method does not use the class order."
    if method == "figkd":
        use = (
            "The classes have this order along the axis of the wavelet transform, so the detail "
            "bands are contrasts between neighboring classes."
        )
    origins = {
        "similarity": "Similar classes are neighbors; similarity is computed from the teacher's "
        f"{_SIMILARITY[order.similarity]}.",
        "random": f"Seed: {order.seed}.",
        "file": "It was read from a file.",
    }
    return Markup("{} {}").format(use, origins.get(order.kind, ""))


def _describe(method: str, option: str) -> Markup:
    distill: Any = params_model().model_fields["distill"].annotation
    options: Any = distill.model_fields[method].annotation
    return code_spans(options.model_fields[option].description or "")

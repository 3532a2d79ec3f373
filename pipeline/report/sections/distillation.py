"""Distillation method of the student, its options, and the class order."""

from __future__ import annotations

from typing import Any

from pipeline.params import params_model
from pipeline.plugins import SECTIONS
from pipeline.report.facts import Facts
from pipeline.report.sections import section
from pipeline.report.table import text_table
from pipeline.report.templates import value


@SECTIONS.register("distillation")
@section("Distillation", order=70)
def distillation(facts: Facts) -> dict[str, Any]:
    """Options of the method, and the class names in the order of the wavelet transform."""
    recipe = facts.student.recipe
    method, class_order = recipe["method"], recipe["class_order"]
    options = recipe.get(method) or {}
    rows = [[name, value(option), _describe(method, name)] for name, option in options.items()]
    return {
        "method": method,
        "combines_kd": bool(options.get("kd_weight")),
        "options": text_table("Options of the method", ["Option", "Value", "Description"], rows),
        "class_order": class_order,
        "names": [facts.dataset["classes"][index] for index in facts.class_order["order"]],
    }


def _describe(method: str, option: str) -> str:
    distill: Any = params_model().model_fields["distill"].annotation
    options: Any = distill.model_fields[method].annotation
    return options.model_fields[option].description or ""

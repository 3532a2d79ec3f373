"""Training curves and recipes of teacher and student."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.params import Recipe
from pipeline.plugins import SECTIONS
from pipeline.report.charts import plot_history, to_svg
from pipeline.report.facts import Facts, Training
from pipeline.report.sections import section
from pipeline.report.table import text_table
from pipeline.report.templates import value


@SECTIONS.register("training")
@section("Training", order=60)
def training(facts: Facts) -> dict[str, Any]:
    """Curves and recipes of both networks."""
    networks = {"Teacher": facts.teacher, "Student": facts.student}
    return {
        "networks": [(who, each, _chart(each, who)) for who, each in networks.items()],
        "views": facts.params["cache_logits"]["views"],
        "recipes": text_table(
            "Recipes of teacher and student",
            ["Parameter", *networks, "Description"],
            [
                [name, *(value(n.recipe[name]) for n in networks.values()), field.description or ""]
                for name, field in Recipe.model_fields.items()
            ],
        ),
    }


def _chart(network: Training, who: str) -> Markup:
    best = int(network.figures["best_epoch"])
    title = (
        f"{who}: validation accuracy and training loss over {len(network.history)} epochs. Best "
        f"validation accuracy: {100 * network.figures['val_accuracy']:.1f} % in epoch {best}."
    )
    figure = plot_history(network.history, best_epoch=best)
    return to_svg(figure, name=f"history-{who.lower()}", title=title)

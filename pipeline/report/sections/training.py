"""Training curves and recipes of teacher and student."""

from typing import Any

from markupsafe import Markup

from pipeline.params import Recipe
from pipeline.plugins import SECTIONS
from pipeline.report.charts import plot_history, to_svg
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts, Training
from pipeline.report.formats import percent, plural, value
from pipeline.report.sections import section
from pipeline.report.table import text_table


@SECTIONS.register("training")
@section("Training", order=60)
def training(facts: Facts) -> list[Part]:
    """Curves and recipes of both networks."""
    networks: dict[str, Training[Any]] = {"Teacher": facts.teacher, "Student": facts.student}
    recipes = text_table(
        "Recipes of teacher and student",
        ["Parameter", *networks, "Description"],
        [
            [
                name,
                *(value(getattr(n.recipe, name)) for n in networks.values()),
                field.description or "",
            ]
            for name, field in Recipe.model_fields.items()
        ],
    )
    views = plural(facts.params.cache_logits.views, "augmented view")
    text = (
        f"Pretrained weights of the teacher: {facts.teacher.recipe.pretrained}. Its logits were "
        f"cached for {views} of every training image."
    )
    if members := len(facts.teacher.recipe.members):
        text += (
            f" They are the mean of {members + 1} networks. The figures of the teacher are those "
            f"of the first one, {facts.teacher.recipe.model}."
        )
    return [
        blocks.columns([_curves(network, name) for name, network in networks.items()]),
        blocks.group("Recipes", [recipes, text]),
    ]


def _curves(network: Training[Any], name: str) -> Markup:
    figures, best = network.figures, network.figures.best_epoch
    heading = f"{name}: {network.recipe.model}"
    if not network.recipe.epochs:
        text = (
            f"Not trained; pretrained weights ({network.recipe.pretrained}). Validation accuracy "
            f"{percent(figures.val_accuracy)} % (balanced accuracy "
            f"{percent(figures.val_balanced_accuracy)} %)."
        )
        return blocks.group(heading, [text])
    accuracy = f"Best validation accuracy {percent(figures.val_accuracy)} %"
    title = (
        f"{name}: validation accuracy and training loss over {len(network.history)} epochs. "
        f"{accuracy} in epoch {best}."
    )
    caption = (
        f"{accuracy} (balanced accuracy {percent(figures.val_balanced_accuracy)} %), epoch "
        f"{best}. Always predicting the largest class: "
        f"{percent(figures.val_majority_fraction)} %."
    )
    chart = plot_history(network.history, best_epoch=best)
    svg = to_svg(chart, name=f"history-{name.lower()}", title=title)
    return blocks.group(heading, [blocks.figure(svg, caption)])

"""Training curves and recipes of teacher and student."""

from typing import Any

from markupsafe import Markup

from pipeline.class_metrics import METRIC_NAMES, Metric
from pipeline.params import Recipe
from pipeline.plugins import SECTIONS
from pipeline.report.artifacts import TrainingFigures
from pipeline.report.charts import plot_history, to_svg
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts, Training
from pipeline.report.formats import code_spans, percent, plural, value
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
                code_spans(field.description or ""),
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
    if folds := facts.params.cache_logits.folds:
        text += f" Each image was answered by one of {folds} teachers, which did not learn from it."
    return [
        blocks.columns([_curves(network, name) for name, network in networks.items()]),
        blocks.group(
            "Recipes",
            [text, blocks.details(plural(len(recipes.rows), "parameter"), [recipes])],
        ),
    ]


def _curves(network: Training[Any], name: str) -> Markup:
    figures, best = network.figures, network.figures.best_epoch
    heading = f"{name}: {network.recipe.model}"
    if not network.recipe.epochs:
        text = (
            f"Not trained; pretrained weights ({network.recipe.pretrained}). Validation "
            f"{_others(figures, without=None)}."
        )
        return blocks.group(heading, [text])
    metric = network.recipe.keep_by
    found = f"validation {METRIC_NAMES[metric]} {percent(figures.metric(metric))} %"
    title = (
        f"{name}: validation {METRIC_NAMES[metric]} and training loss over "
        f"{len(network.history)} epochs. Best {found} in epoch {best}."
    )
    caption = (
        f"Best {found} ({_others(figures, metric)}), epoch {best}. Always predicting the largest "
        f"class: accuracy {percent(figures.val_majority_fraction)} %."
    )
    chart = plot_history(network.history, best_epoch=best, metric=metric)
    svg = to_svg(chart, name=f"history-{name.lower()}", title=title)
    return blocks.group(heading, [blocks.figure(svg, caption)])


def _others(figures: TrainingFigures, without: Metric | None) -> str:
    """The validation metrics, without the one that selects the epoch."""
    names = [name for name in METRIC_NAMES if name != without]
    return ", ".join(f"{METRIC_NAMES[name]} {percent(figures.metric(name))} %" for name in names)

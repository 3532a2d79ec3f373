"""The report: one page that needs nothing but itself. The same facts give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.measure.evaluation import Measured
from pipeline.measure.footprint import Moment
from pipeline.params import Distill, Recipe
from pipeline.report.facts import Facts, Training
from pipeline.report.picture import Point, plot_history, plot_tradeoff, to_svg
from pipeline.report.template import load_template
from pipeline.statistics import AccuracyDrop

_MINUS, _FIXED_SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Option:
    """A parameter of a training.

    Attributes:
        name: Its key.
        meaning: What ``params.py`` says of it.
        values: Its value, or one per network.
    """

    name: str
    meaning: str
    values: tuple[Any, ...]


def render(facts: Facts) -> str:
    """The report as an HTML document that loads nothing."""
    filters: dict[str, Callable[..., Any]] = {
        "percent": lambda share: f"{100 * share:.1f}",
        "decimal": _decimal,
        "milliseconds": lambda value: f"{value:.3f}",
        "megabytes": lambda count: f"{count / 1e6:.2f}",
        "millions": lambda count: f"{count / 1e6:.1f}",
        "count": lambda number: f"{number:,}",
        "times": _times,
        "loss": _loss,
        "value": _value,
        "typeset": _typeset,
    }
    return load_template("page.html.jinja", filters).render(
        facts=facts,
        tradeoffs={
            "wide": _draw_tradeoff(facts, "wide", 1040, 460),
            "narrow": _draw_tradeoff(facts, "narrow", 360, 440),
        },
        curves={
            "teacher": _draw_history(facts.teacher, "teacher"),
            "student": _draw_history(facts.student, "student"),
        },
        recipe=_recipe(facts),
        method_options=_method_options(facts.student.recipe),
        weather=_weather(facts.evaluation.moments),
        parity=_parity(facts),
        runtimes=_runtimes([*facts.evaluation.candidates, facts.measured_teacher]),
    )


def _draw_tradeoff(facts: Facts, name: str, width: int, height: int) -> Markup:
    evaluation = facts.evaluation
    points = [
        Point(m.name, m.latency.p50_ms, 100 * m.accuracy, m.bytes, facts.verdict(m.name)["status"])
        for m in evaluation.candidates
    ]
    teacher = facts.measured_teacher
    points.append(
        Point("teacher", teacher.latency.p50_ms, 100 * teacher.accuracy, teacher.bytes, "teacher")
    )
    max_drop = facts.manifest["params"]["bundle"]["max_drop"]
    figure = plot_tradeoff(
        points,
        floor=100 * facts.fp32.accuracy - max_drop,
        floor_label=f"accepted drop: {max_drop:g} below the fp32 student",
        width=width,
        # Many labels need room.
        height=height + 16 * max(0, len(points) - 8),
    )
    title = (
        f"Accuracy on the validation images over median latency of {len(points)} models. "
        f"{facts.shipped.name} ships: {100 * facts.shipped.accuracy:.1f} % at "
        f"{facts.shipped.latency.p50_ms:.3f} ms; the teacher: {100 * teacher.accuracy:.1f} % at "
        f"{teacher.latency.p50_ms:.3f} ms. The table of candidates has all figures."
    )
    return Markup(to_svg(figure, name=f"tradeoff-{name}", title=title))


def _draw_history(training: Training, who: str) -> Markup:
    best = int(training.figures["best_epoch"])
    figure = plot_history(training.history, best_epoch=best, width=420, height=300)
    title = (
        f"The {who}'s validation accuracy and training loss over {len(training.history)} epochs; "
        f"its best validation accuracy is {100 * training.figures['val_accuracy']:.1f} %, "
        f"in epoch {best}."
    )
    return Markup(to_svg(figure, name=f"history-{who}", title=title))


def _recipe(facts: Facts) -> list[Option]:
    recipes = (facts.teacher.recipe, facts.student.recipe)
    return [
        Option(name, field.description or "", tuple(recipe[name] for recipe in recipes))
        for name, field in Recipe.model_fields.items()
    ]


def _method_options(recipe: Mapping[str, Any]) -> list[Option]:
    field = Distill.model_fields.get(recipe["method"])
    if field is None:  # labels only
        return []
    described: Any = field.annotation
    return [
        Option(name, described.model_fields[name].description or "", (value,))
        for name, value in recipe[recipe["method"]].items()
    ]


def _parity(facts: Facts) -> dict[str, Any]:
    recovered = facts.recovery["parity"] if facts.recovery else {}
    return {**facts.parity, **{f"recovered/{name}": recovered[name] for name in recovered}}


def _runtimes(models: Sequence[Measured]) -> list[tuple[str, str, list[str]]]:
    """Runtime with version, its settings, and the models that were run so."""
    runs: dict[tuple[str, str], list[str]] = {}
    for m in models:
        latency = m.latency
        settings = ", ".join(f"{key} = {value}" for key, value in latency.settings.items())
        key = (f"{latency.runtime} {latency.runtime_version}", settings)
        runs.setdefault(key, []).append(m.name)
    return [(*key, names) for key, names in runs.items()]


def _weather(moments: Sequence[Moment]) -> dict[str, str]:
    """Between what temperatures and frequencies was measured."""

    def span(values: Sequence[float | None], unit: str, what: str) -> str:
        known = [value for value in values if value is not None]
        if not known:
            return f"{what} unknown"
        ends = dict.fromkeys(f"{value:.0f}" for value in (min(known), max(known)))
        return f"{' to '.join(ends)}{_FIXED_SPACE}{unit}"

    return {
        "temperature": span([moment.temperature_c for moment in moments], "°C", "temperature"),
        "frequency": span([moment.frequency_mhz for moment in moments], "MHz", "frequency"),
    }


def _decimal(value: float) -> str:
    # Adding nothing turns a negative zero into zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", _MINUS)


def _typeset(text: str) -> str:
    """A reason of the rule with true minus signs, and no line break before a unit."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", _MINUS, text)
    return re.sub(r"(?<=\d) (?=(%|ms|kB)(\W|$))", _FIXED_SPACE, text)


def _times(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f} times {more}" if ratio >= 1 else f"{1 / ratio:.1f} times {less}"


def _loss(drop: AccuracyDrop) -> str:
    verb = "gains" if drop.points < 0 else "loses"
    return (
        f"{verb} {_decimal(abs(drop.points))} points (95{_FIXED_SPACE}% interval of the loss "
        f"{_decimal(drop.low)} to {_decimal(drop.high)})"
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

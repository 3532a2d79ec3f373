"""Parameters of the run that differ from the recipe and the defaults."""

from pipeline.params.defaults import default_values
from pipeline.params.editing import flattened
from pipeline.params.recipes import recipe_name
from pipeline.plugins import SECTIONS
from pipeline.report.document import Part
from pipeline.report.facts import Facts
from pipeline.report.formats import DASH, plain_value
from pipeline.report.sections import section
from pipeline.report.table import text_table


@SECTIONS.register("parameters")
@section("Parameters", order=107)
def parameters(facts: Facts) -> list[Part]:
    """One row per parameter with another value."""
    recipe = recipe_name(facts.manifest.params)
    defaults = dict(flattened(default_values(recipe)))
    differing = [
        [name, plain_value(now), plain_value(defaults[name]) if name in defaults else DASH]
        for name, now in flattened(facts.manifest.params)
        if name != "recipe" and (name not in defaults or defaults[name] != now)
    ]
    source = "the defaults" if recipe == "none" else f"the recipe {recipe} and the defaults"
    if not differing:
        return [f"All parameters have the values of {source}."]
    return [
        f"These parameters differ from {source}.",
        text_table("Parameters that differ", ["Parameter", "Value", "Default"], differing),
    ]

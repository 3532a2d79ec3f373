"""Effective values of all parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from finch_runtime.errors import printable

from pipeline.errors import ParameterError, one_of
from stages.command import Context, json_option, stage
from stages.console import echo


@stage(
    reads="params.yaml",
    writes="nothing; prints to standard output",
    exclusive=False,
    log_file=False,
    options=[
        click.Option(["--section"], help="Print only one section, such as distill.figkd."),
        json_option("Print {key: {value, source}}."),
    ],
)
def params(context: Context, section: str | None, as_json: bool) -> None:
    """Print the effective value of every parameter and its source.

    The output is YAML. A comment names the source of a value: the parameter file, --set, the
    recipe, or the default in the code.
    """
    from pipeline.params import read_values
    from pipeline.params.recipes import load_recipe, recipe_name

    values = context.params.model_dump()
    if section:
        values = _only(values, section)
    in_file = {key for _, key, _ in _rows(read_values(context.params_path)) if key}
    recipe = recipe_name(read_values(context.params_path, context.overrides))
    in_recipe = {key for _, key, _ in _rows(load_recipe(recipe)) if key}
    overridden = [override.partition("=")[0] for override in context.overrides]

    def source(key: str) -> str:
        if any(f"{key}.".startswith(f"{override}.") for override in overridden):
            return "--set"
        if key in in_file:
            return context.params_path.name
        return f"recipe {recipe}" if key in in_recipe else "default"

    rows = list(_rows(values))
    if as_json:
        leaves = {key: {"value": value, "source": source(key)} for _, key, value in rows if key}
        echo(json.dumps(leaves, indent=2, ensure_ascii=False))
        return
    width = min(60, max(len(text) for text, _, _ in rows))
    for text, key, _ in rows:
        line = f"{text:<{width}}  # {source(key)}" if key else text
        # Click removes the style if the output is not a terminal.
        click.echo(click.style(printable(line), bold=bool(key) and source(key) != "default"))


def _only(values: dict[str, Any], section: str) -> dict[str, Any]:
    """The values of one section, below the same keys as in the file."""
    names, inner = section.split("."), values
    try:
        for name in names:
            if not isinstance(inner, dict):
                raise ValueError(f"{name!r} is below a value")
            inner = inner[one_of(name, inner, "parameter")]
    except ValueError as error:
        raise ParameterError(f"--section {section}", str(error)) from None
    for name in reversed(names):
        inner = {name: inner}
    return inner


def _rows(
    values: Mapping[str, Any], indent: str = "", prefix: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Lines of YAML as (text, key, value); the key is empty if the line only names a section."""
    from pipeline.params.editing import as_yaml

    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:", "", None
            yield from _rows(value, f"{indent}  ", f"{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{name}:", "", None
            for number, element in enumerate(value):
                start = f"{indent}  - "
                for text, inner, leaf in _rows(element, f"{indent}    ", f"{key}.{number}."):
                    yield start + text[len(start) :], inner, leaf
                    start = f"{indent}    "
        else:
            yield f"{indent}{name}: {as_yaml(value)}", key, value


if __name__ == "__main__":
    params()

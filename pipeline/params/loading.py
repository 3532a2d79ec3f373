"""Reads and validates parameter files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from pipeline.errors import ParameterError
from pipeline.params.messages import explain
from pipeline.params.recipes import with_recipe
from pipeline.params.root import Params, params_model
from pipeline.plugins.section import Section

S = TypeVar("S", bound=Section)


def load_params(path: Path, overrides: Iterable[str] = ()) -> Params:
    """Reads and validates ``params.yaml``, whose values are above those of its recipe.

    ``overrides`` are ``key=value`` pairs such as ``distill.figkd.level=2``; values are YAML.

    Raises:
        ParameterError: The file cannot be read, or a key or value is not allowed.
    """
    return validate_params(path, read_values(path, overrides))


def validate_params(path: Path, values: Mapping[str, Any]) -> Params:
    """As ``load_params``, for the values of a file with this path."""
    try:
        values = with_recipe(values)
    except ValueError as error:
        raise ParameterError(path, f"recipe: {error}") from None
    return _validated(path, params_model(), values)


def load_section(path: Path, model: type[S], overrides: Iterable[str] = ()) -> S:
    """As ``load_params``, for a file with the keys of ``model``, such as ``scout.yaml``."""
    return _validated(path, model, read_values(path, overrides))


def _validated(path: Path, model: type[S], values: Mapping[str, Any]) -> S:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ParameterError(path, explain(error, model)) from None


def read_values(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The values of a parameter file and the overrides, not validated and without defaults.

    Raises:
        ParameterError: The file cannot be read, or an override is malformed.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        remedy = "check the path, or create a project with `finch init`"
        raise ParameterError(path, problem, remedy) from None
    except _NOT_YAML as error:
        raise ParameterError(path, f"is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise ParameterError(path, "is not a YAML mapping", "start from the one of the project")
    for override in overrides:
        _set(values, override)
    return values


class Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, like YAML 1.2 and DVC, and refuses a key that is set twice.

    For plain PyYAML, 1e-3 is a string, and of two values of a key the last one counts.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As in SafeLoader, but a repeated key is an error.

        Here and not when the mapping is constructed, where it has the keys that it merges (`<<`).
        """
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                problem = f"{name!r} is set in line {lines[name]} and again in line {line}"
                raise yaml.composer.ComposerError(problem=problem)
            lines[name] = line
        return node


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
# PyYAML also raises ValueError for a date such as 2024-99-01, and RecursionError for deep nesting.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise ParameterError(f"--set {override}", "is not KEY=VALUE", "for example run.seed=1")
    try:
        value = yaml.load(text, Loader=Loader)
    except _NOT_YAML:
        raise ParameterError(f"--set {key}", f"value {text!r} is not valid YAML") from None
    *sections, last = key.split(".")
    section: Any = values
    for name in sections:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ParameterError(f"--set {key}", f"{name!r} is a value, not a section")
    section[last] = value

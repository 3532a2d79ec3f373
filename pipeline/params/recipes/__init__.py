"""Recipes: values of ``params.yaml`` for a kind of images, below the values of the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal, get_args

import yaml

from pipeline.errors import one_of
from pipeline.params.editing import merged

RecipeName = Literal["auto", "photographs", "solar-cells", "none"]
_BY_SOURCE = {"elpv": "solar-cells"}  # all other sources: photographs


def recipe_name(values: Mapping[str, Any]) -> str:
    """Name of the recipe that applies to the values of a parameter file, or ``none``.

    Raises:
        ValueError: ``recipe`` is not a ``RecipeName``.
    """
    name = one_of(str(values.get("recipe", "auto")), get_args(RecipeName), "recipe")
    if name != "auto":
        return name
    prepare = values.get("prepare")
    source = prepare.get("source", "elpv") if isinstance(prepare, Mapping) else "elpv"
    return _BY_SOURCE.get(str(source), "photographs")


def load_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe; none for ``none``."""
    if name == "none":
        return {}
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def with_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a parameter file above those of its recipe.

    Raises:
        ValueError: As ``recipe_name``.
    """
    return merged(load_recipe(recipe_name(values)), values)

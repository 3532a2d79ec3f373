"""The values of parameters that ``params.yaml`` does not set."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pipeline.params.editing import merged
from pipeline.params.recipes import load_recipe
from pipeline.params.root import params_model


def default_values(recipe: str) -> dict[str, Any]:
    """Values of a recipe, above the defaults.

    Args:
        recipe: Name of the recipe, or ``none``.

    Returns:
        Values nested as in ``params.yaml``. Parameters that must be set and have no value in the
        recipe are missing.
    """
    values = merged(_defaults(params_model()), load_recipe(recipe))
    for network in ("finetune", "distill"):
        if values[network]["image_size"] is None:
            values[network]["image_size"] = values["prepare"]["image_size"]
    return values


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            values[name] = _defaults(kind)
        elif not field.is_required():
            values[name] = _plain(field.get_default(call_default_factory=True))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.model_dump() if isinstance(value, BaseModel) else value

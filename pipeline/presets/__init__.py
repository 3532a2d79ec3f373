"""Presets: sections of ``params.yaml`` for data sets, methods and published experiments."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.errors import ParameterError, one_of
from pipeline.files import atomic_file
from pipeline.params import load_params, read_values
from pipeline.params.editing import changed, merged
from pipeline.params.loading import validate_params
from pipeline.params.recipes import recipe_name

_FILES = ("data", "methods", "cifar100")
# What the networks of a preset need of the images of another data set.
_OF_NETWORKS = ("image_size", "fit")


class Change(NamedTuple):
    """Key of a parameter that a preset changed, with its value before and after."""

    key: str
    before: Any
    after: Any


def pair_names() -> list[str]:
    """Names of the presets that set a teacher, a student and their recipe."""
    return list(_read("cifar100")["presets"])


def method_names() -> list[str]:
    """Names of the presets that set only a method."""
    return list(_read("methods")["presets"])


def data_names() -> list[str]:
    """Names of the presets that set a data set and the values that suit it."""
    return list(_read("data")["presets"])


def load_preset(name: str) -> dict[str, Any]:
    """The sections of a preset.

    Raises:
        ParameterError: The name is unknown.
    """
    contents = [_read(file) for file in _FILES]
    try:
        one_of(name, [known for content in contents for known in content["presets"]], "preset")
    except ValueError as error:
        raise ParameterError("presets", str(error), "see `finch presets list`") from None
    (content,) = (content for content in contents if name in content["presets"])
    return merged(content["shared"], content["presets"][name])


def load_preset_for_own_images(name: str) -> dict[str, Any]:
    """The sections of a preset, without the data set: networks, method, views and image size.

    Raises:
        ParameterError: The name is unknown, or the preset is a data set.
    """
    preset = load_preset(name)
    if name in data_names():
        known = ", ".join(method_names())
        remedy = f"choose a method ({known}) or a pair of networks (`finch presets list`)"
        raise ParameterError(f"preset {name!r}", "is a data set of its own", remedy)
    prepare = {key: preset["prepare"][key] for key in _OF_NETWORKS if "prepare" in preset}
    others = {key: value for key, value in preset.items() if key not in ("prepare", "recipe")}
    return ({"prepare": prepare} if prepare else {}) | others


def apply_preset(name: str, path: Path, *, own_images: bool = False) -> list[Change]:
    """Writes a preset into a parameter file. Comments and all other lines stay as they are.

    The file is not changed if an error is raised.

    Args:
        name: Name of the preset.
        path: Parameter file.
        own_images: Keep the data set of the file, see ``load_preset_for_own_images``.

    Returns:
        The effective values that changed.

    Raises:
        ParameterError: The name is unknown, or the file is invalid without or with the preset.
    """
    preset = load_preset_for_own_images(name) if own_images else load_preset(name)
    before, own = load_params(path), read_values(path)
    try:
        wanted = validate_params(path, merged(own, preset))
    except ParameterError as error:
        problem = f"is invalid with preset {name!r}: {error.problem}"
        raise ParameterError(path, problem) from None
    # The preset may set another source of data, and thereby another recipe.
    recipe = recipe_name(merged(own, preset))
    present = load_params(path, [f"recipe={recipe}"]).model_dump() | {"recipe": before.recipe}
    values: dict[str, Any] = {}
    for key, _, value in _differences(present, preset):
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merged(values, value)
    with atomic_file(path) as temporary:
        # As bytes, which preserves line endings.
        temporary.write_bytes(changed(path.read_bytes().decode(), values).encode())
        if load_params(temporary) != wanted:  # sections of the file share a value
            raise ParameterError(
                path,
                f"has a layout that preset {name!r} cannot be written into",
                f"copy the output of `finch presets show {name}` into it",
            )
    return list(_differences(before.model_dump(), wanted.model_dump()))


def _differences(
    before: dict[str, Any], after: dict[str, Any], prefix: str = ""
) -> Iterator[Change]:
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            yield from _differences(before[key], value, f"{prefix}{key}.")
        elif value != before.get(key):
            yield Change(prefix + key, before.get(key), value)


def _read(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]

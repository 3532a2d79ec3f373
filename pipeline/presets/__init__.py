"""Presets: parts of ``params.yaml`` for experiments that many papers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ParameterError, one_of
from pipeline.files import whole_file
from pipeline.params import Params, load_params
from pipeline.params.editing import changed, merged

# Pairs of networks with their recipe, and methods.
_PAIRS, _METHODS = "cifar100.yaml", "methods.yaml"


@dataclass(frozen=True)
class Change:
    """One value that a preset has changed.

    Attributes:
        key: Such as ``distill.lr``.
        before: The value that was in force, by the file or by default.
        after: The preset's.
    """

    key: str
    before: Any
    after: Any


def pair_names() -> list[str]:
    """The presets of a teacher, a student and their recipe, in the order of their file."""
    return list(_read(_PAIRS)["presets"])


def method_names() -> list[str]:
    """The presets of a method alone, in the order of their file."""
    return list(_read(_METHODS)["presets"])


def load_preset(name: str) -> dict[str, Any]:
    """The sections of a preset.

    Raises:
        ParameterError: There is no preset of that name.
    """
    try:
        one_of(name, [*method_names(), *pair_names()], "preset")
    except ValueError as error:
        raise ParameterError("presets", str(error), "see `finch presets list`") from None
    everything = _read(_METHODS if name in method_names() else _PAIRS)
    return merged(everything["shared"], everything["presets"][name])


def apply_preset(name: str, path: Path) -> list[Change]:
    """Writes a preset into a parameter file; what it does not name stays, comments too.

    Args:
        name: Of the preset.
        path: The file; it is replaced as a whole, or left as it was.

    Returns:
        The values that are others now.

    Raises:
        ParameterError: There is no such preset, the file is not valid, or would not be with it.
    """
    preset = load_preset(name)
    before = load_params(path)
    with whole_file(path) as temporary:
        # As bytes, so that line ends stay what they are.
        text = changed(path.read_bytes().decode(), preset)
        temporary.write_bytes(text.encode())
        try:
            after = load_params(temporary)
        except ParameterError as error:
            raise ParameterError(
                path, f"does not go with preset {name!r}: {error.problem}"
            ) from None
        if after != Params.model_validate(merged(before.model_dump(), preset)):
            raise ParameterError(
                path,
                f"is laid out in a way that preset {name!r} cannot be written into",
                f"put what `finch presets show {name}` prints into it by hand",
            )
    return list(_differences(before.model_dump(), after.model_dump()))


def _differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[Change]:
    found: list[Change] = []
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before[key], dict):
            found += _differences(before[key], value, f"{prefix}{key}.")
        elif value != before[key]:
            found.append(Change(prefix + key, before[key], value))
    return found


def _read(file: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    everything: dict[str, Any] = yaml.safe_load(text)
    return everything

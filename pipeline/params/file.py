"""Reads and checks a parameter file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import ParameterError
from pipeline.params.explanation import explain
from pipeline.params.whole import Params


def load_params(path: Path, overrides: Iterable[str] = ()) -> Params:
    """Reads and checks a parameter file.

    Args:
        path: The YAML file.
        overrides: ``key=value`` pairs such as ``distill.figkd.weight=2``; values are YAML.

    Raises:
        ParameterError: The file cannot be read, or a key or value is not allowed.
    """
    try:
        raw = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(
            path, f"cannot be read ({error.strerror})", "name it with --params"
        ) from None
    except _NOT_YAML as error:
        raise ParameterError(path, f"is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise ParameterError(path, "holds no sections", "start from the params.yaml of the project")
    for override in overrides:
        _set(raw, override)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = [explain(dict(e), Params) for e in error.errors()]
        raise ParameterError(path, "; ".join(problems)) from None


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and DVC do; PyYAML alone takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
# PyYAML also lets out the ValueError of a date such as 2024-99-01, and deep nesting.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _set(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not (equals and key):
        raise ParameterError(f"--set {override}", "is not key=value", "try --set run.seed=1")
    try:
        value = _parse(text)
    except _NOT_YAML:
        raise ParameterError(f"--set {key}", f"the value {text!r} is not valid YAML") from None
    *sections, last = key.split(".")
    place: Any = raw
    for name in sections:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise ParameterError(f"--set {key}", f"{name!r} holds a value, not a section")
    place[last] = value

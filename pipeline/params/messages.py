"""Pydantic's validation errors as messages that name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import shown
from pipeline.params.renamed import NEW_NAMES, NEW_VALUES
from pipeline.plugins.section import Section


def explain(error: ValidationError, root: type[Section], prefix: str = "") -> str:
    """All problems of ``root.model_validate`` in one line; ``prefix`` is the key of ``root``."""
    return "; ".join(_problem(each, root, prefix) for each in error.errors())


def subsection(root: type[Section], location: tuple[str | int, ...]) -> type[Section]:
    """The model at a location below ``root``; an element's model for a list."""
    model: Any = root
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            arguments = get_args(annotation)
            model = arguments[0] if arguments else annotation
    return model  # type: ignore[no-any-return]


def _problem(error: ErrorDetails, root: type[Section], prefix: str) -> str:
    section = error["loc"][:-1]
    key = prefix + ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        if key in NEW_NAMES:
            return f"{key} is now {NEW_NAMES[key]}"
        known = sorted(subsection(root, section).model_fields)
        near = _near(key, known, dict(_leaves(root, prefix)))
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        return f"{key} is not a parameter ({hint})"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        problem = str(error["ctx"]["error"])
        return f"{key}: {problem}" if key else problem
    allowed = error["msg"].replace("Input should be", "must be")
    if renamed := NEW_VALUES.get(str(error["input"])):
        allowed += f" (formerly {error['input']}, now {renamed})"
    return f"{key} = {shown(error['input'])}: {allowed}"


def _near(key: str, known: Sequence[str], leaves: Mapping[str, str]) -> list[str]:
    """Keys that an unknown one may stand for: in its own section, or with its name in another.

    Args:
        key: The unknown key.
        known: Names in its section.
        leaves: Name of every parameter by its key.
    """
    section, dot, name = key.rpartition(".")
    own = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    elsewhere = difflib.get_close_matches(name, set(leaves.values()), n=1, cutoff=0.8)
    if own and not (elsewhere and _likeness(name, elsewhere[0]) > _likeness(name, own[0])):
        return [f"{section}{dot}{own[0]}"]
    return [each for each, leaf in leaves.items() if leaf in elsewhere]


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def _leaves(model: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    """Key and name of every parameter, outside of lists."""
    for name, field in model.model_fields.items():
        types = (field.annotation, *get_args(field.annotation))
        inner = [t for t in types if isinstance(t, type) and issubclass(t, Section)]
        if not inner:
            yield f"{prefix}{name}", name
        elif get_origin(field.annotation) is not list:
            yield from _leaves(inner[0], f"{prefix}{name}.")

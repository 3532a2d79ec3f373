"""Pydantic's validation errors as messages that name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from pipeline.params.renamed import new_name, new_value
from pipeline.plugins.section import Section


def explain(error: ValidationError, root: type[Section], prefix: str = "") -> str:
    """All problems of a validation, in one line.

    Args:
        error: What ``root.model_validate`` raised.
        root: The model that was validated.
        prefix: Key of the section that ``root`` is, such as ``distill.``.
    """
    return "; ".join(_problem(dict(e), root, prefix) for e in error.errors())


def subsection(root: type[Section], location: tuple[str | int, ...]) -> type[Section]:
    """The model at a location below ``root``; an element's model for a list."""
    model: Any = root
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            arguments = get_args(annotation)
            model = arguments[0] if arguments else annotation
    return model  # type: ignore[no-any-return]


def _problem(error: Mapping[str, Any], root: type[Section], prefix: str) -> str:
    *section, name = error["loc"] or ("",)
    key = prefix + ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        if renamed := new_name(key):
            return f"{key} is now {renamed}"
        known = sorted(subsection(root, tuple(section)).model_fields)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = (
            f"did you mean {key.removesuffix(str(name))}{near[0]}?"
            if near
            else f"known: {', '.join(known)}"
        )
        return f"{key} is not a parameter ({hint})"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        problem = str(error["ctx"]["error"])
        return f"{key}: {problem}" if key else problem
    allowed = error["msg"].replace("Input should be", "must be")
    if renamed := new_value(error["input"]):
        allowed += f" (formerly {error['input']}, now {renamed})"
    return f"{key} = {error['input']!r}: {allowed}"

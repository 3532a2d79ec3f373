"""Pydantic's validation errors as messages that name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
from typing import Any, get_args

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
    *section, name = error["loc"] or ("",)
    key = prefix + ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        if key in NEW_NAMES:
            return f"{key} is now {NEW_NAMES[key]}"
        known = sorted(subsection(root, tuple(section)).model_fields)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = f"known: {', '.join(known)}"
        if near:
            hint = f"did you mean {key.removesuffix(str(name))}{near[0]}?"
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

"""What is wrong with a value, in words for the one who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pipeline.plugins.section import Section


def explain(error: Mapping[str, Any], root: type[Section]) -> str:
    """One problem that pydantic found below ``root``: the key, the value and what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"][:-1], root)
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        prefix = key.rpartition(".")[0]
        right = f"{prefix}.{near[0]}" if near and prefix else "".join(near)
        hint = f"did you mean {right}?" if near else f"known here: {', '.join(known)}"
        return f"{key} is not a parameter ({hint})"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    said = error["msg"].replace("Input should be", "must be")
    return f"{key} = {error['input']!r}: {said}"


def _known_keys(location: tuple[str | int, ...], root: type[Section]) -> list[str]:
    model: Any = root
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = getattr(annotation, "__args__", None)
        model = inner[0] if inner else annotation
    return sorted(model.model_fields)

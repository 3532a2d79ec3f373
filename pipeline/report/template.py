"""Pages are made from the templates in this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def load_template(name: str, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """A template of this folder: it escapes what it is given, and fails on what is missing.

    Args:
        name: Its file.
        filters: Those that it uses beside Jinja's own.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= dict(filters or {})
    return environment.get_template(name)

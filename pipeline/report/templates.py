"""Jinja templates of the pages, and the formats of their numbers and texts.

All pages extend ``document.html.jinja``, which holds the style sheet.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

DASH, MINUS, FIXED_SPACE, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}", "\xd7"
SPLIT_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
_FOLDER = Path(__file__).parent


def load_template(name: str, folder: Path = _FOLDER) -> Template:
    """Loads a template from ``folder`` or, if it is not there, from this package's folder."""
    return _environment(folder).get_template(name)


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, decimal, interval, megabytes, times, plural, value, typeset)
    environment.filters.update({function.__name__: function for function in filters})
    return environment


def percent(fraction: float | None) -> str:
    """A fraction in percent, such as ``58.5``; a dash for None."""
    return DASH if fraction is None else f"{100 * fraction:.1f}"


def decimal(number: float) -> str:
    """Two decimals and a true minus sign."""
    # Adding zero turns a negative zero into zero.
    return f"{round(number, 2) + 0.0:.2f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """Both ends of an interval, such as ``0.95 to 1.05``."""
    return f"{decimal(low)} to {decimal(high)}"


def megabytes(size: float) -> str:
    """A size in bytes as megabytes with two decimals."""
    return f"{size / 1e6:.2f}"


def times(ratio: float, more: str, less: str) -> str:
    """A ratio in words: 2 is ``2.0x more``, and 0.5 is ``2.0x less``."""
    return f"{ratio:.1f}{TIMES} {more}" if ratio >= 1 else f"{1 / ratio:.1f}{TIMES} {less}"


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as ``2 epochs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def value(option: Any) -> str:
    """The value of a parameter."""
    if isinstance(option, bool):
        return "yes" if option else "no"
    return f"{option:g}" if isinstance(option, float) else str(option)


def typeset(text: str) -> str:
    """A text with true minus signs, and no line break before a unit."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", MINUS, text)
    return re.sub(r"(?<=\d) (?=(%|ms|kB|MB)(\W|$))", FIXED_SPACE, text)

"""Formats of numbers and texts."""

import re
from collections.abc import Mapping
from typing import Any

from finch_runtime.image_size import ImageSize, height_and_width
from markupsafe import Markup, escape

from pipeline.plugins.section import Section
from pipeline.statistics import Drop

DASH, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
SPLIT_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}


def percent(fraction: float | None) -> str:
    """A fraction in percent, such as ``58.5``; a dash for None."""
    return DASH if fraction is None else f"{100 * fraction:.1f}"


def decimal(number: float) -> str:
    """Two decimals, with the Unicode minus sign."""
    # Adding zero turns a negative zero into zero.
    return f"{round(number, 2) + 0.0:.2f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """Both ends of an interval, such as ``0.95 to 1.05``."""
    return f"{decimal(low)} to {decimal(high)}"


def drop(found: Drop) -> str:
    """A drop with its interval."""
    return f"{decimal(found.points)} points (95 % CI {interval(found.low, found.high)})"


def megabytes(size: float) -> str:
    """A size in bytes as megabytes with two decimals."""
    return f"{size / 1e6:.2f}"


def pixels(size: ImageSize) -> str:
    """The size of an image, such as 96 by 96 pixels."""
    height, width = height_and_width(size)
    order = "" if height == width else f" (height {TIMES} width)"
    return f"{height} {TIMES} {width} pixels{order}"


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as ``2 epochs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def value(option: Any) -> str:
    """The value of a parameter; a dash for None."""
    if option is None:
        return DASH
    if isinstance(option, Section):
        given = ((name, each) for name, each in option if each is not None)
        return ", ".join(f"{name} {value(each)}" for name, each in given) or DASH
    if isinstance(option, bool):
        return "yes" if option else "no"
    return f"{option:g}" if isinstance(option, float) else str(option)


def plain_value(option: Any) -> str:
    """The value of a parameter as it is in a file, with its lists and sections."""
    if isinstance(option, list):
        return ", ".join(map(plain_value, option)) or DASH
    if isinstance(option, Mapping):
        given = ((name, each) for name, each in option.items() if each is not None)
        return " ".join(f"{name} {plain_value(each)}" for name, each in given)
    return value(option)


def code_spans(text: str) -> Markup:
    """Escapes a text; what is between backticks becomes ``<code>``."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def typeset(text: str) -> str:
    """Replaces spaces before units by no-break spaces; ``Markup`` stays ``Markup``."""
    return type(text)(re.sub(r"(?<=\d) (?=(%|ms|kB|MB)(\W|$))", "\N{NO-BREAK SPACE}", text))

"""Self-contained HTML pages, built from the macros of ``blocks.html.jinja``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from finch_runtime.errors import printable
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.formats import typeset

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["typeset"] = typeset


class _Blocks(Protocol):
    def __getattr__(self, name: str) -> Callable[..., Markup]: ...


blocks = cast(_Blocks, _environment.get_template("blocks.html.jinja").module)
"""The macros as functions, such as ``blocks.figure(chart, caption)``."""


class Block(Protocol):
    """HTML, such as a table or the result of a function of ``blocks``."""

    def __html__(self) -> str: ...


Part = str | Block
"""A plain string is a paragraph, which is escaped."""


@dataclass(frozen=True)
class Section:
    """A section of a page, omitted if it has no parts; ``anchor`` is its id."""

    anchor: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A page with a small line (``kicker``) above its heading, and parts (``intro``) below it."""

    kicker: str
    heading: str
    intro: Sequence[Part]
    sections: Sequence[Section] = ()
    footer: str = ""

    def render(self) -> str:
        """The page as HTML. The same content gives the same bytes.

        Names of classes and files come from anywhere. Their characters that a browser would hide,
        or that turn the direction of the text around them, become visible escapes.
        """
        html = _environment.get_template("page.html.jinja").render(page=self)
        return "\n".join(printable(line) for line in html.split("\n"))

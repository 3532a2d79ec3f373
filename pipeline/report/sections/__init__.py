"""Sections of the report page: one module with its template each.

A module registers a function that returns the variables of its template::

    @SECTIONS.register("parity")
    @section("Parity", order=80)
    def parity(facts: Facts) -> dict[str, Any]: ...

The registered name is the anchor of the section. The template lies beside the module and has its
name, with the suffix ``.html.jinja``; it can import ``macros.html.jinja``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.report.facts import Facts
from pipeline.report.templates import load_template

Context = Callable[[Facts], Mapping[str, Any] | None]


@dataclass(frozen=True)
class ReportSection:
    """A section of the page.

    Attributes:
        title: Heading, which the navigation shows too.
        order: Position on the page, ascending. The built-in sections have multiples of 10.
        context: Returns the template's variables besides ``facts``; None leaves the section out.
    """

    title: str
    order: int
    context: Context

    def render(self, facts: Facts) -> Markup | None:
        """The section as HTML, without its heading."""
        context = self.context(facts)
        if context is None:
            return None
        module = Path(inspect.getfile(self.context))
        template = load_template(f"{module.stem}.html.jinja", module.parent)
        return Markup(template.render(facts=facts, **context))


def section(title: str, *, order: int) -> Callable[[Context], ReportSection]:
    """Decorator that makes a section of the function that returns its template's variables."""
    return lambda context: ReportSection(title, order, context)

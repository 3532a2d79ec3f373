"""Sections of the report page: one module each.

A module registers a function that returns the parts of its section. A string is a paragraph; a
``Table`` and the results of ``document.blocks`` are HTML. The registered name is the anchor::

    @SECTIONS.register("parity")
    @section("Parity", order=80)
    def parity(facts: Facts) -> list[Part]: ...
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.report.document import Part
from pipeline.report.facts import Facts

Parts = Callable[[Facts], Sequence[Part]]


@dataclass(frozen=True)
class ReportSection:
    """A section of the page.

    Attributes:
        title: Heading, which the navigation shows too.
        order: Sort key on the page. The built-in sections have multiples of 10.
        parts: Returns the content; the section is omitted if it is empty.
    """

    title: str
    order: int
    parts: Parts


def section(title: str, *, order: int) -> Callable[[Parts], ReportSection]:
    """Decorator for a function that returns the parts of a section."""
    return lambda parts: ReportSection(title, order, parts)

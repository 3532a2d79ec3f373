"""Tables of text, rendered by the macro ``table`` of ``macros.html.jinja`` or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.report.templates import DASH, SPLIT_TITLES, decimal, interval

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """A text with a smaller second line, such as an interval, and a tooltip."""

    text: str
    detail: str = ""
    tooltip: str = ""


@dataclass(frozen=True)
class Column(Generic[T]):
    """A heading with a unit, and what makes a cell of an item; numbers are right-aligned."""

    heading: str
    cell: Callable[[T], str | Cell]
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """Cells, one per column; the first is the heading of the row.

    Attributes:
        cells: Texts.
        highlighted: Whether the row stands out.
        note: Heading and text of a line below the cells.
    """

    cells: Sequence[str | Cell]
    highlighted: bool = False
    note: tuple[str, str] | None = None


@dataclass(frozen=True)
class Table:
    """A table; ``label`` is its name for screen readers."""

    label: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Row]
    footer: Sequence[Row] = ()
    caption: str = ""


def make_table(
    label: str,
    items: Iterable[T],
    columns: Sequence[Column[T]],
    *,
    highlighted: Callable[[T], bool] = lambda _: False,
    note: Callable[[T], tuple[str, str] | None] = lambda _: None,
    caption: str = "",
) -> Table:
    """A table with one row per item."""
    rows = [Row([c.cell(item) for c in columns], highlighted(item), note(item)) for item in items]
    return Table(label, columns, rows, caption=caption)


def text_table(label: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts, without numbers."""
    columns: list[Column[Any]] = [Column(heading, str, numeric=False) for heading in headings]
    return Table(label, columns, [Row(row) for row in rows])


def estimate(value: float, low: float, high: float) -> Cell:
    """A value above its confidence interval."""
    return Cell(decimal(value), interval(low, high))


def missing(tooltip: str) -> Cell:
    """A dash; the tooltip explains why there is no value."""
    return Cell(DASH, tooltip=tooltip)


def as_markdown(table: Table) -> str:
    """The body of a table in Markdown."""
    headings = [f"{c.heading} ({c.unit})" if c.unit else c.heading for c in table.columns]
    rows = [headings, ["---"] * len(headings)]
    rows += [[cell if isinstance(cell, str) else cell.text for cell in r.cells] for r in table.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows
    )


def images_per_class(dataset: Mapping[str, Any]) -> Table:
    """Images per class and split, from ``dataset.json``."""

    def row(name: str, counts: Sequence[int]) -> Row:
        return Row([name, *(f"{count:,}" for count in (*counts, sum(counts)))])

    splits = dataset["splits"]
    headings = [*(SPLIT_TITLES[split] for split in splits), "All"]
    return Table(
        label="Images per class and split",
        columns=[Column("Class", str, numeric=False), *(Column(each, str) for each in headings)],
        rows=[
            row(name, [split["per_class"][label] for split in splits.values()])
            for label, name in enumerate(dataset["classes"])
        ],
        footer=[row("All classes", [split["images"] for split in splits.values()])],
    )

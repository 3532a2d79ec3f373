"""Tables of text, as HTML or Markdown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.data.prepared import DatasetInfo
from pipeline.report.document import blocks
from pipeline.report.formats import DASH, SPLIT_TITLES, decimal, interval
from pipeline.statistics import Drop, LatencyRatio

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """A text with a smaller second line, such as an interval, and a tooltip."""

    text: str
    detail: str = ""
    tooltip: str = ""

    def __html__(self) -> str:
        return str(blocks.cell(self))


@dataclass(frozen=True)
class Column(Generic[T]):
    """A heading with a unit; ``cell`` returns the cell of an item. Numbers are right-aligned."""

    heading: str
    cell: Callable[[T], str | Cell]
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """Cells, one per column; ``note`` is the heading and the text of a line below them."""

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

    def __html__(self) -> str:
        return str(blocks.table(self))

    def markdown(self) -> str:
        """Headings and rows in Markdown."""
        headings = [f"{c.heading} ({c.unit})" if c.unit else c.heading for c in self.columns]
        rows = [headings, ["---"] * len(headings)]
        for row in (*self.rows, *self.footer):
            texts = [cell if isinstance(cell, str) else cell.text for cell in row.cells]
            rows.append([text.replace("|", r"\|") for text in texts])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def make_table(
    label: str,
    items: Iterable[T],
    columns: Sequence[Column[T]],
    *,
    highlighted: Callable[[T], bool] = lambda _: False,
    note: Callable[[T], tuple[str, str] | None] = lambda _: None,
    more: Sequence[Row] = (),
    footer: Sequence[Row] = (),
    caption: str = "",
) -> Table:
    """A table with one row per item, and ``more`` rows below them."""
    rows = [Row([c.cell(item) for c in columns], highlighted(item), note(item)) for item in items]
    return Table(label, columns, [*rows, *more], footer, caption)


def text_table(label: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts, without numbers."""
    columns: list[Column[Any]] = [Column(heading, str, numeric=False) for heading in headings]
    return Table(label, columns, [Row(row) for row in rows])


def estimate(found: Drop | LatencyRatio) -> Cell:
    """A value above its confidence interval."""
    value = found.value if isinstance(found, LatencyRatio) else found.points
    return Cell(decimal(value), interval(found.low, found.high))


def missing(tooltip: str) -> Cell:
    """A dash; the tooltip explains why there is no value."""
    return Cell(DASH, tooltip=tooltip)


def images_per_class(dataset: DatasetInfo) -> Table:
    """Images per class and split, from ``dataset.json``."""

    def row(name: str, counts: Sequence[int]) -> Row:
        return Row([name, *(f"{count:,}" for count in (*counts, sum(counts)))])

    splits = dataset.splits
    columns: list[Column[Any]] = [Column("Class", str, numeric=False)]
    columns += [Column(SPLIT_TITLES.get(key, "All"), str) for key in (*splits, "all")]
    rows = [
        row(name, [split.per_class[label] for split in splits.values()])
        for label, name in enumerate(dataset.classes)
    ]
    total = row("All classes", [split.images for split in splits.values()])
    return Table("Images per class and split", columns, rows, [total])

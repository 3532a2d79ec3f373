"""Labels as tables hold them: missing values, numbers and several labels in one cell."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.data.sources.quoting import quoted
from pipeline.errors import DataError

MISSING = frozenset(("", "nan", "null", "#n/a", "<na>"))
"""Cells, in lower case, that spreadsheets and pandas write where there is no value."""


def check_labels(classes: Collection[str], table: Path) -> None:
    """Checks that no two labels are one number, and that no label is a list of others.

    Raises:
        DataError: Two labels are one number, such as ``1`` and ``1.0``, between which spreadsheets
            and pandas convert; or a label consists of others.
    """
    written: dict[float, str] = {}
    for name in sorted(classes):
        if re.fullmatch(r"-?\d+(\.0*)?", name, re.ASCII):
            other = written.setdefault(float(name), name)
            if other != name:
                problem = f"the labels {other!r} and {name!r} are one number"
                raise DataError(table, problem, "write each class in one way")
        parts = [part.strip() for part in re.split(r"[|;,]", name)]
        if len(parts) > 1 and all(part in classes for part in parts):
            problem = f"the label {name!r} consists of the labels {quoted(parts)}"
            remedy = "give every image one label, and remove the images that have several"
            raise DataError(table, problem, remedy)


def describe_lists(classes: Collection[str]) -> list[str]:
    """A remark if labels look like lists of labels."""
    lists = sorted(name for name in classes if "|" in name or re.fullmatch(r"\[.*\]", name))
    return [f"labels that look like lists are one class each: {quoted(lists, 3)}"] if lists else []


def find_one_hot(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The columns that together are a one-hot encoding of the label; empty if there are none.

    Args:
        header: Names of the columns.
        rows: The cells of every row.
    """
    full = [row for row in rows if len(row) == len(header)]
    columns = [
        index
        for index in range(len(header))
        if {row[index] for row in full} in ({"0", "1"}, {"0.0", "1.0"})
    ]
    is_one_hot = len(columns) > 1 and all(
        sum(row[index].startswith("1") for index in columns) == 1 for row in full
    )
    return [header[index] for index in columns] if is_one_hot else []

"""Which row of a given classifier layer belongs to which class."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ParameterError
from pipeline.models.class_names import KnownClasses

HeadPolicy = Literal["match", "keep", "fresh"]


@dataclass(frozen=True)
class HeadRows:
    """The rows of a given classifier layer, in the order of other classes.

    Attributes:
        rows: Row of each class; None if the layer does not know it.
        remarks: How the rows were found, one sentence each.
    """

    rows: tuple[int | None, ...]
    remarks: tuple[str, ...] = ()


def choose_rows(
    policy: HeadPolicy, classes: tuple[str, ...], rows: int, known: KnownClasses | None
) -> HeadRows:
    """Finds the row of each class in a classifier layer.

    Args:
        policy: ``match`` takes rows by class name, ``keep`` by position, ``fresh`` takes none.
        classes: Class names of the data, in the order of the logits.
        rows: Number of rows of the layer.
        known: Class names of the rows, if they are known.

    Raises:
        ParameterError: The policy is ``keep``, but the number of rows is not that of the classes.
    """
    nothing: tuple[int | None, ...] = (None,) * len(classes)
    if policy == "fresh":
        return HeadRows(nothing)
    if policy == "keep":
        if rows != len(classes):
            problem = f"the classifier layer of the weights has {rows} rows, the data has"
            remedy = "set `head` to match or fresh"
            raise ParameterError("head = keep", f"{problem} {len(classes)} classes", remedy)
        return HeadRows(tuple(range(rows)), _keep_remarks(classes, known))
    if known is None:
        return HeadRows(nothing, _unnamed(rows, len(classes)))
    if len(known.names) != rows:
        names = f"{known.origin} has {len(known.names)} class names"
        text = f"{names} for a classifier layer of {rows} rows; the layer starts with random rows"
        return HeadRows(nothing, (text,))
    return _match(classes, known)


def _keep_remarks(classes: tuple[str, ...], known: KnownClasses | None) -> tuple[str, ...]:
    text = "the rows of the classifier layer are taken by position (`head: keep`)"
    if known and known.names != classes:
        text += f", although {known.origin} has other names or another order"
    return (text,)


def _unnamed(rows: int, classes: int) -> tuple[str, ...]:
    text = (
        f"the classifier layer of the weights has {rows} rows without class names, so it is not "
        "used: the layer starts with random rows"
    )
    hint = "; name the classes with `class_names`"
    if rows == classes:
        hint += ", or keep the rows in their order with `head: keep`"
    return (text + hint,)


def _match(classes: tuple[str, ...], known: KnownClasses) -> HeadRows:
    """Rows by name: equal names first, then names that are equal once normalized."""
    row_of = {name: row for row, name in enumerate(known.names)}
    rows = [row_of.get(name) for name in classes]
    free = [name for name in known.names if name not in classes]
    open_classes = [name for name, row in zip(classes, rows, strict=True) if row is None]
    there, here = _unambiguous(free), _unambiguous(open_classes)
    alike = {here[key]: there[key] for key in here.keys() & there.keys()}
    rows = [row_of.get(alike.get(name, name)) for name in classes]
    fresh = [name for name, row in zip(classes, rows, strict=True) if row is None]
    count, origin = len(classes) - len(fresh), known.origin
    text = f"the classifier layer has the rows of {count} of {len(classes)} classes, by the names"
    remarks = [f"{text} in {origin}"]
    if alike:
        pairs = [f"{there} is {here}" for here, there in sorted(alike.items())]
        remarks.append(f"names that differ in case, separators or encoding: {_listed(pairs)}")
    if fresh:
        remarks.append(f"classes with random rows: {_listed(fresh)}")
        used = {row for row in rows if row is not None}
        unused = [name for row, name in enumerate(known.names) if row not in used]
        if unused:
            remarks.append(f"names in {origin} that are no class of the data: {_listed(unused)}")
    return HeadRows(tuple(rows), tuple(remarks))


def _unambiguous(names: Sequence[str]) -> dict[str, str]:
    """Each name by its normalized form, without those whose form is shared."""
    forms = {name: _normalized(name) for name in names}
    counts = Counter(forms.values())
    return {form: name for name, form in forms.items() if counts[form] == 1}


def _normalized(name: str) -> str:
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return re.sub(r"[\s_-]+", "_", text).strip("_")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more

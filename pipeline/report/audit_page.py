"""The audit of a data set as an HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.audit import ELONGATED, Audit, report
from pipeline.report.contact_sheet import contact_sheet, shrink
from pipeline.report.table import Table, text_table
from pipeline.report.templates import SPLIT_TITLES, TIMES, load_template

_LARGE, _SMALL = 96, 64  # side of the thumbnails of duplicates and of classes, in pixels
_CLASS_THUMBNAILS = 900  # in total, which keeps the page below 5 MB
_PER_CLASS = 14
_COPIES, _PER_GROUP, _PAIRS, _ROWS = 40, 6, 80, 100


def render_audit(audit: Audit) -> str:
    """Renders the page. The same audit gives the same bytes."""
    facts = report(audit)
    pairs = facts["near_duplicates"]["pairs"]
    copy_order = _worst_first(facts["exact_duplicates"])[:_COPIES]
    pair_order = _worst_first(pairs)[:_PAIRS]
    groups = [audit.copies[i].indices[:_PER_GROUP] for i in copy_order]
    couples = [tuple(audit.near.pairs[i].tolist()) for i in pair_order]
    examples = _examples_per_class(audit)
    thumbnails = _thumbnails(audit, {i for each in (*groups, *couples, *examples) for i in each})

    def sheet(places: Sequence[int], columns: int, side: int = _LARGE) -> str | None:
        images = [shrink(thumbnails[place], side) for place in places]
        return contact_sheet(images, columns) if images else None

    return load_template("audit.html.jinja").render(
        report=facts,
        is_split=audit.splits is not None,
        tables=_tables(facts, audit.usable.image_size),
        copies=[
            (facts["exact_duplicates"][i], sheet(group, 3))
            for i, group in zip(copy_order, groups, strict=True)
        ],
        pairs=[(pairs[i], sheet(pair, 2)) for i, pair in zip(pair_order, couples, strict=True)],
        classes=[
            (row, sheet(places, _PER_CLASS, _SMALL))
            for row, places in zip(facts["classes"], examples, strict=True)
        ],
        split_titles=SPLIT_TITLES,
    )


def _tables(facts: Mapping[str, Any], image_size: int) -> list[tuple[str, Table, int]]:
    """Explanation, table of the first findings, and number of findings; none without findings."""

    def images(kind: str) -> list[list[str]]:
        return [
            [each["name"], _class_and_split(each)]
            + ([f"{each['width']} {TIMES} {each['height']}"] if "width" in each else [])
            for each in facts[kind]
        ]

    bad = [[each["name"], each["class"], each["problem"]] for each in facts["bad"]]
    groups = [
        [each["group"], ", ".join(SPLIT_TITLES[split] for split in each["splits"])]
        for each in facts["parted_groups"]
    ]
    uniform, small = "Their gray levels hardly differ.", f"A side is below {image_size} pixels."
    elongated = f"One side is more than {ELONGATED:g} times the other."
    separated = "The published splits separate images of one group."
    sized = ["Name", "Class", "Pixels"]
    tables = [
        ("", "Unusable images", ["Name", "Class", "Problem"], bad),
        (separated, "Groups in several splits", ["Group", "Splits"], groups),
        (uniform, "Uniform images", ["Name", "Class"], images("flat")),
        (small, "Small images", sized, images("small")),
        (elongated, "Elongated images", sized, images("elongated")),
    ]
    return [
        (explanation, text_table(title, headings, rows[:_ROWS]), len(rows))
        for explanation, title, headings, rows in tables
        if rows
    ]


def _class_and_split(image: Mapping[str, Any]) -> str:
    split = image["split"]
    return f"{image['class']}, {SPLIT_TITLES[split].lower()}" if split else str(image["class"])


def _worst_first(findings: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of findings: those across splits first, then those with several labels."""
    return sorted(
        range(len(findings)),
        key=lambda i: (
            not findings[i]["across_splits"],
            not findings[i]["across_labels"],
            findings[i].get("distance", 0),
        ),
    )


def _examples_per_class(audit: Audit) -> list[list[int]]:
    """Indices of a few evenly spaced images per class."""
    classes = len(audit.dataset.classes)
    most = min(_PER_CLASS, max(1, _CLASS_THUMBNAILS // classes))
    labels = np.array([sample.label for sample in audit.usable.samples], dtype=np.int64)
    examples: list[list[int]] = []
    for label in range(classes):
        places = np.flatnonzero(labels == label)
        spread = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
        examples.append(places[spread].tolist())
    return examples


def _thumbnails(audit: Audit, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    places = sorted(wanted)
    return {
        places[at]: shrink(image, _LARGE)
        for ats, pixels in audit.usable.only(places).pixels()
        for at, image in zip(ats, pixels, strict=True)
    }

"""The audit of a data set as an HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.audit import ELONGATED, Audit, report
from pipeline.report.contact_sheet import contact_sheet, evenly_spaced, shrink
from pipeline.report.table import Table, text_table
from pipeline.report.templates import SPLIT_TITLES, TIMES, load_template

_LARGE, _SMALL = 96, 64  # side of the thumbnails of duplicates and of classes, in pixels
_CLASS_THUMBNAILS = 900  # in total, which keeps the page below 5 MB
_PER_CLASS = 14
_COPIES, _PER_GROUP, _PAIRS, _ROWS = 40, 6, 80, 100


def render_audit(audit: Audit) -> str:
    """Renders the page. The same audit gives the same bytes."""
    facts = report(audit)
    near = facts["near_duplicates"]
    copies = _worst_first(facts["exact_duplicates"], audit.copies, _COPIES)
    pairs = _worst_first(near["pairs"], audit.near.pairs.tolist(), _PAIRS)
    examples = _examples_per_class(audit)
    wanted = {i for _, indices in (*copies, *pairs) for i in indices}
    thumbnails = _thumbnails(audit, wanted.union(*examples))

    def sheet(indices: Sequence[int], columns: int, side: int = _LARGE) -> str | None:
        images = [shrink(thumbnails[index], side) for index in indices]
        return contact_sheet(images, columns) if images else None

    return load_template("audit.html.jinja").render(
        report=facts,
        is_split=audit.splits is not None,
        tables=_tables(facts, audit.usable.image_size),
        copies=[(finding, sheet(indices, 3)) for finding, indices in copies],
        pairs=[(finding, sheet(indices, 2)) for finding, indices in pairs],
        classes=[
            (row, sheet(indices, _PER_CLASS, _SMALL))
            for row, indices in zip(facts["classes"], examples, strict=True)
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


def _worst_first(
    findings: Sequence[Mapping[str, Any]], indices: Iterable[Sequence[int]], most: int
) -> list[tuple[Mapping[str, Any], Sequence[int]]]:
    """Findings with their images: those across splits first, then those with several labels."""

    def order(found: tuple[Mapping[str, Any], Sequence[int]]) -> tuple[bool, bool, int]:
        finding = found[0]
        across = (not finding["across_splits"], not finding["across_labels"])
        return *across, finding.get("distance", 0)

    limited = (each[:_PER_GROUP] for each in indices)
    return sorted(zip(findings, limited, strict=True), key=order)[:most]


def _examples_per_class(audit: Audit) -> list[list[int]]:
    classes = len(audit.dataset.classes)
    most = min(_PER_CLASS, max(1, _CLASS_THUMBNAILS // classes))
    labels = np.array([sample.label for sample in audit.usable.samples], dtype=np.int64)
    return [evenly_spaced(np.flatnonzero(labels == label), most) for label in range(classes)]


def _thumbnails(audit: Audit, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    indices = sorted(wanted)
    return {
        indices[at]: shrink(image, _LARGE)
        for ats, pixels in audit.usable.only(indices).pixels()
        for at, image in zip(ats, pixels, strict=True)
    }

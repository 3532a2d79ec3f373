"""The audit as a page that needs nothing but itself. The same photographs give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.audit import ELONGATED, Audit, report
from pipeline.report.contact_sheet import contact_sheet, shrink
from pipeline.report.template import load_template

_LARGE, _SMALL = 96, 64  # pixels: beside each other to be compared, and of a class
_CLASS_THUMBNAILS = 900  # of all classes together: the page stays under 5 MB with any number
_PER_CLASS = 14
_COPIES, _PER_GROUP, _PAIRS, _ROWS = 40, 6, 80, 100


def render_audit(audit: Audit) -> str:
    """The audit as an HTML document that loads nothing."""
    facts = report(audit)
    copies = _worst_first(facts["exact_duplicates"])[:_COPIES]
    pairs = _worst_first(facts["near_duplicates"]["pairs"])[:_PAIRS]
    groups = [audit.copies[i].places[:_PER_GROUP] for i in copies]
    couples = [tuple(audit.near.pairs[i].tolist()) for i in pairs]
    samples = _sample_classes(audit)
    wanted = {place for places in (*groups, *couples, *samples) for place in places}
    thumbnails = _thumbnails(audit, sorted(wanted))

    def sheet(places: Sequence[int], columns: int, side: int = _LARGE) -> str | None:
        images = [shrink(thumbnails[place], side) for place in places]
        return contact_sheet(images, columns) if images else None

    return load_template("audit.html.jinja").render(
        report=facts,
        splits=audit.splits is not None,
        rows=_ROWS,
        copies=[
            (facts["exact_duplicates"][i], sheet(group, 3))
            for i, group in zip(copies, groups, strict=True)
        ],
        pairs=[
            (facts["near_duplicates"]["pairs"][i], sheet(couple, 2))
            for i, couple in zip(pairs, couples, strict=True)
        ],
        classes=[
            (row, sheet(places, _PER_CLASS, _SMALL))
            for row, places in zip(facts["classes"], samples, strict=True)
        ],
        oddities=[
            ("Photographs that show nothing", "Hardly a grey level differs.", facts["flat"]),
            (
                "Small photographs",
                f"A side has fewer than {audit.usable.image_size} pixels, so they are blown up.",
                facts["small"],
            ),
            (
                "Elongated photographs",
                f"One side is more than {ELONGATED:g} times the other.",
                facts["elongated"],
            ),
        ],
    )


def _worst_first(findings: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the findings: what lies in two splits first, then what has two labels."""
    return sorted(
        range(len(findings)),
        key=lambda i: (
            not findings[i]["across_splits"],
            not findings[i]["across_labels"],
            findings[i].get("distance", 0),
        ),
    )


def _sample_classes(audit: Audit) -> list[list[int]]:
    """A few places per class, evenly spread over it in the source's order."""
    classes = len(audit.source.classes)
    most = min(_PER_CLASS, max(1, _CLASS_THUMBNAILS // classes))
    labels = np.array([photo.label for photo in audit.usable.photos], dtype=np.int64)
    samples = []
    for label in range(classes):
        places = np.flatnonzero(labels == label)
        spread = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
        samples.append([int(place) for place in places[spread]])
    return samples


def _thumbnails(audit: Audit, places: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    return {
        places[at]: shrink(image, _LARGE)
        for ats, pixels in audit.usable.only(places).pixels()
        for at, image in zip(ats, pixels, strict=True)
    }

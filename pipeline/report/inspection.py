"""The prepared data as a page: augmented views, images per class, and the teacher's confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.naming import data_name
from pipeline.data.prepared import PreparedData, Split
from pipeline.data.sources import SplitName
from pipeline.params import Views
from pipeline.report.contact_sheet import ContactSheet, contact_sheet, evenly_spaced, shrink
from pipeline.report.document import Page, Part, Section, blocks
from pipeline.report.formats import SPLIT_TITLES, pixels, plural
from pipeline.report.table import images_per_class
from pipeline.views import make_views

_THUMBNAILS = 1200  # in total, which keeps the page at a few megabytes
_LARGE, _SMALL = 96, 64  # side of the thumbnails in pixels
_PER_CONFUSION = 4  # images per class


@dataclass(frozen=True)
class Confusion:
    """Images of class ``label`` classified as ``predicted``, of ``total`` in the class."""

    label: str
    predicted: str
    indices: Sequence[int]
    total: int

    def __str__(self) -> str:
        count = f"{len(self.indices)} of {self.total} images"
        return f"{self.label} classified as {self.predicted}: {count}"


def most_frequent_confusions(
    logits: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str], most: int = 12
) -> list[Confusion]:
    """At most ``most`` confusions, sorted by count and then by the fraction of the true class.

    ``logits`` are float [n, classes], ``labels`` int64 [n], and ``classes`` the class names.
    """
    predictions = logits.argmax(axis=1)
    wrong = np.stack([labels, predictions], axis=1)[labels != predictions]
    confusions = []
    for label, other in np.unique(wrong, axis=0).tolist():
        indices = np.flatnonzero((labels == label) & (predictions == other)).tolist()
        total = int((labels == label).sum())
        confusions.append(Confusion(classes[label], classes[other], indices, total))
    return sorted(confusions, key=lambda c: (-len(c.indices), c.total))[:most]


def render_inspection(
    data: PreparedData,
    split: SplitName,
    recipe: Views,
    *,
    views: int,
    per_class: int,
    confusions: Sequence[Confusion] | None,
) -> str:
    """Renders a self-contained page.

    It shows ``views`` augmented views of ``per_class`` images of every class (fewer if there are
    many classes), and the teacher's ``confusions`` on the validation split, if not None.
    """
    images, info = data.split(split), data.info
    most = max(1, _THUMBNAILS // (len(data.classes) * (views + 1)))
    sheets: list[Part] = [
        f"Images of the {SPLIT_TITLES[split].lower()} split: the packed image on the left, then "
        f"its first {plural(views, 'augmented view')}."
    ]
    for label, name in enumerate(data.classes):
        chosen = evenly_spaced(np.flatnonzero(images.labels == label), min(per_class, most))
        if chosen:
            sheet = _sheet_of_views(images, np.array(chosen), recipe, views)
            image = blocks.image(sheet, f"images of {name} and their augmented views")
            sheets.append(blocks.group(name, [image]))
    size = f"{pixels(data.image_size)}, fit: {info.fit}"
    return Page(
        kicker="Inspection",
        heading=data_name(info.source, info.origin),
        intro=[f"{len(data.classes)} classes, {size}. License: {info.license}."],
        sections=[
            Section("views", "Augmented views", sheets),
            Section("confusions", "Confusions of the teacher", _confusions(data, confusions)),
            Section("classes", "Classes", [images_per_class(info)]),
        ],
    ).render()


def _confusions(data: PreparedData, confusions: Sequence[Confusion] | None) -> list[Part]:
    val = data.split("val")
    if confusions is None:
        return []
    if not confusions:
        return [f"None: all {len(val):,} validation images are classified correctly."]
    sheets = [_sheet_of_confusion(confusion, val, data.classes) for confusion in confusions]
    return [
        f"On the {len(val):,} validation images. Top row: images of the first class that the "
        "teacher classifies as the second class. Bottom row: images of the second class.",
        blocks.cards(
            [(blocks.image(s, str(c)), str(c)) for c, s in zip(confusions, sheets, strict=True)]
        ),
    ]


def _sheet_of_views(
    split: Split, indices: NDArray[np.int64], recipe: Views, views: int
) -> ContactSheet:
    """One row per image: the packed image and its views."""
    packed = np.asarray(split.images[indices])
    columns = [packed]
    for view in range(views):
        batch = make_views(packed, indices, view, recipe, torch.device("cpu"))
        columns.append((batch * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    cells = [shrink(column[row], _LARGE) for row in range(len(indices)) for column in columns]
    return contact_sheet(cells, views + 1)


def _sheet_of_confusion(confusion: Confusion, split: Split, classes: Sequence[str]) -> ContactSheet:
    """Two rows: confused images, and images of the predicted class."""
    others = np.flatnonzero(split.labels == classes.index(confusion.predicted)).tolist()
    columns = min(_PER_CONFUSION, max(len(confusion.indices), len(others)))
    cells: list[NDArray[np.uint8] | None] = []
    for indices in (confusion.indices, others):
        images = [shrink(split.images[i], _SMALL) for i in indices[:columns]]
        cells += [*images, *[None] * (columns - len(images))]
    return contact_sheet(cells, columns)

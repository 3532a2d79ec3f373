"""The most frequent confusions of classes, with example images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.data.prepared import Split
from pipeline.report.contact_sheet import ContactSheet, contact_sheet, shrink
from pipeline.report.document import blocks

_SIDE = 64  # of the thumbnails, in pixels
_IMAGES = 4  # per class


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
    predictions: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    most: int = 12,
) -> list[Confusion]:
    """At most ``most`` confusions, sorted by count and then by the fraction of the true class.

    ``predictions`` and ``labels`` are int64 [n], and ``classes`` the class names.
    """
    wrong = np.stack([labels, predictions], axis=1)[labels != predictions]
    confusions = []
    for label, other in np.unique(wrong, axis=0).tolist():
        indices = np.flatnonzero((labels == label) & (predictions == other)).tolist()
        total = int((labels == label).sum())
        confusions.append(Confusion(classes[label], classes[other], indices, total))
    return sorted(confusions, key=lambda c: (-len(c.indices), c.total))[:most]


def confusion_cards(
    confusions: Sequence[Confusion], split: Split, classes: Sequence[str]
) -> Markup:
    """Two rows of images per confusion: confused ones, and images of the predicted class."""
    cards = [(_sheet(each, split, classes), str(each)) for each in confusions]
    return blocks.cards([(blocks.image(sheet, text), text) for sheet, text in cards])


def _sheet(confusion: Confusion, split: Split, classes: Sequence[str]) -> ContactSheet:
    others = np.flatnonzero(split.labels == classes.index(confusion.predicted)).tolist()
    columns = min(_IMAGES, max(len(confusion.indices), len(others)))
    cells: list[NDArray[np.uint8] | None] = []
    for indices in (confusion.indices, others):
        images = [shrink(split.images[i], _SIDE) for i in indices[:columns]]
        cells += [*images, *[None] * (columns - len(images))]
    return contact_sheet(cells, columns)

"""The prepared data as a page: augmented views, images per class, and the teacher's confusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData, Split
from pipeline.data.sources import SplitName
from pipeline.measure.accuracy import score
from pipeline.params import Views
from pipeline.report.contact_sheet import contact_sheet, evenly_spaced, shrink
from pipeline.report.table import images_per_class
from pipeline.report.templates import SPLIT_TITLES, load_template
from pipeline.views import make_views

_THUMBNAILS = 1200  # in total, which keeps the page at a few megabytes
_LARGE, _SMALL = 96, 64  # side of the thumbnails in pixels
_PER_CONFUSION = 4  # images per class


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are classified as another one.

    Attributes:
        label: True class.
        predicted: Predicted class.
        count: Number of these images.
        total: Number of images of the true class.
        indices: Indices of these images in the split.
    """

    label: str
    predicted: str
    count: int
    total: int
    indices: tuple[int, ...]


def most_frequent_confusions(
    logits: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str], most: int = 12
) -> list[Confusion]:
    """At most ``most`` confusions, sorted by count and then by the fraction of the true class.

    ``logits`` are float [n, classes], ``labels`` int64 [n], and ``classes`` the class names.
    """
    predictions = logits.argmax(axis=1)
    confusion = np.array(score(logits, labels).confusion)
    totals = confusion.sum(axis=1)
    np.fill_diagonal(confusion, 0)
    pairs = [(int(a), int(b)) for a, b in np.argwhere(confusion)]
    pairs.sort(key=lambda pair: (-confusion[pair], totals[pair[0]], pair))
    return [
        Confusion(
            classes[label],
            classes[other],
            int(confusion[label, other]),
            int(totals[label]),
            tuple(np.flatnonzero((labels == label) & (predictions == other)).tolist()),
        )
        for label, other in pairs[:most]
    ]


def render_inspection(
    data: PreparedData,
    split: SplitName,
    recipe: Views,
    *,
    views: int,
    per_class: int,
    confusions: Sequence[Confusion] | None,
) -> str:
    """Renders the page, which loads nothing.

    Args:
        data: The prepared data.
        split: Split whose images are shown.
        recipe: Augmentation.
        views: Augmented views per image.
        per_class: Images per class; fewer if there are many classes.
        confusions: Confusions of the teacher on the validation split; None without a teacher.
    """
    images = data.split(split)
    most = max(1, _THUMBNAILS // (len(data.classes) * (views + 1)))
    sheets = []
    for label, name in enumerate(data.classes):
        chosen = evenly_spaced(np.flatnonzero(images.labels == label), min(per_class, most))
        if chosen:
            sheets.append((name, _sheet_of_views(images, np.array(chosen), recipe, views)))
    val = data.split("val")
    return load_template("inspection.html.jinja").render(
        data=data,
        split=SPLIT_TITLES[split].lower(),
        views=views,
        sheets=sheets,
        counts=images_per_class(data.info),
        val_images=len(val),
        confusions=None
        if confusions is None
        else [(c, _sheet_of_confusion(c, val, data.classes)) for c in confusions],
    )


def _sheet_of_views(split: Split, indices: NDArray[np.int64], recipe: Views, views: int) -> str:
    """One row per image: the packed image and its views."""
    pixels = np.asarray(split.images[indices])
    columns = [pixels]
    for view in range(views):
        batch = make_views(pixels, indices, view, recipe, torch.device("cpu"))
        columns.append((batch * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    cells = [shrink(column[row], _LARGE) for row in range(len(indices)) for column in columns]
    return contact_sheet(cells, views + 1)


def _sheet_of_confusion(confusion: Confusion, split: Split, classes: Sequence[str]) -> str:
    """Two rows: confused images, and images of the predicted class."""
    others = np.flatnonzero(split.labels == classes.index(confusion.predicted)).tolist()
    side = min(_SMALL, split.images.shape[1])
    blank = np.full((side, side, 3), 255, dtype=np.uint8)
    columns = min(_PER_CONFUSION, max(confusion.count, len(others)))
    cells = []
    for indices in (confusion.indices, others):
        images = [shrink(split.images[i], _SMALL) for i in indices[:columns]]
        cells += images + [blank] * (columns - len(images))
    return contact_sheet(cells, columns)

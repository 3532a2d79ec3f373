"""A prepared set as a page: what the student sees of it, and what the teacher confuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData, Split
from pipeline.data.sources.photos import SplitName
from pipeline.measure.accuracy import score
from pipeline.params import Views
from pipeline.report.contact_sheet import contact_sheet, shrink
from pipeline.report.template import load_template
from pipeline.views import make_views

TITLES: dict[SplitName, str] = {"train": "Training", "val": "Validation", "test": "Test"}

_THUMBNAILS = 1200  # of all classes together: some megabytes
_LARGE, _SMALL = 96, 64
_MIDDLE = 4  # photographs on each side of a confusion


@dataclass(frozen=True)
class Confusion:
    """One class taken for another one.

    Attributes:
        label: The class it is.
        taken_for: The class that the teacher says.
        images: How often.
        of: Images of ``label``.
        places: Those images' places in the split.
    """

    label: str
    taken_for: str
    images: int
    of: int
    places: tuple[int, ...]


def commonest_mistakes(
    logits: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str], most: int = 12
) -> list[Confusion]:
    """As counted; of equally common ones the larger share of its class first.

    Args:
        logits: Float [n, classes], the teacher's.
        labels: int64 [n].
        classes: Names.
        most: How many to return.
    """
    said = logits.argmax(axis=1)
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
            tuple(np.flatnonzero((labels == label) & (said == other)).tolist()),
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
    """The inspection as an HTML document that loads nothing.

    Args:
        data: What was prepared.
        split: The split whose views are shown.
        recipe: What a view is.
        views: Views per photograph.
        per_class: Photographs per class; fewer where there are very many classes.
        confusions: Of the teacher on the validation split; None when there is no teacher.
    """
    images = data.split(split)
    fit = max(1, _THUMBNAILS // (len(data.classes) * (views + 1)))
    sheets = []
    for label, name in enumerate(data.classes):
        places = np.flatnonzero(images.labels == label)
        spread = np.linspace(0, len(places) - 1, min(per_class, fit, len(places)))
        if len(spread):
            chosen = places[spread.round().astype(int)]
            sheets.append((name, _sheet_of_views(images, chosen, recipe, views)))
    val = data.split("val")
    return load_template("inspection.html.jinja").render(
        data=data,
        split=split,
        titles=TITLES,
        views=views,
        sheets=sheets,
        judged=len(val),
        confusions=None
        if confusions is None
        else [(c, _sheet_of_confusion(c, val, data.classes)) for c in confusions],
    )


def _sheet_of_views(split: Split, places: NDArray[np.int64], recipe: Views, views: int) -> str:
    """A row a photograph: as it is packed, and its views."""
    pixels = np.asarray(split.images[places])
    columns = [pixels]
    for view in range(views):
        made = make_views(pixels, places, view, recipe, torch.device("cpu"))
        columns.append((made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    rows = [shrink(column[row], _LARGE) for row in range(len(places)) for column in columns]
    return contact_sheet(rows, views + 1)


def _sheet_of_confusion(confusion: Confusion, split: Split, classes: Sequence[str]) -> str:
    """Rows of a mistaken photograph and one of the class that it was taken for."""
    others = np.flatnonzero(split.labels == classes.index(confusion.taken_for))
    side = min(_SMALL, split.images.shape[1])
    blank = np.full((side, side, 3), 255, dtype=np.uint8)
    cells = []
    for row in range(min(_MIDDLE, max(len(confusion.places), len(others)))):
        for places in (confusion.places, others):
            there = row < len(places)
            cells.append(shrink(split.images[places[row]], _SMALL) if there else blank)
    # Turned, so that the two classes stand in two rows.
    return contact_sheet(cells[0::2] + cells[1::2], len(cells) // 2)

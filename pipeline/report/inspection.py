"""The prepared data as a page: augmented views, images per class, and the teacher's confusions."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.naming import data_name
from pipeline.data.prepared import PreparedData, Split
from pipeline.data.sources import SplitName
from pipeline.params import Views
from pipeline.report.confusions import Confusion, confusion_cards
from pipeline.report.contact_sheet import ContactSheet, contact_sheet, evenly_spaced, shrink
from pipeline.report.document import Page, Part, Section, blocks
from pipeline.report.formats import SPLIT_TITLES, pixels, plural
from pipeline.report.table import images_per_class
from pipeline.views import make_views

_THUMBNAILS = 1200  # in total, which keeps the page at a few megabytes
_SIDE = 96  # of the thumbnails, in pixels


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
    return [
        f"On the {len(val):,} validation images. Top row: images of the first class that the "
        "teacher classifies as the second class. Bottom row: images of the second class.",
        confusion_cards(confusions, val, data.classes),
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
    cells = [shrink(column[row], _SIDE) for row in range(len(indices)) for column in columns]
    return contact_sheet(cells, views + 1)

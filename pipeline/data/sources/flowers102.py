"""Oxford Flowers-102: 8,189 photographs of 102 flowers.

Nilsback, Zisserman, "Automated Flower Classification over a Large Number of Classes", ICVGIP 2008.
Publishes train, val and test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.published import index_of, read_matlab
from pipeline.data.sources.torchvision_set import open_set

_LISTS: dict[SplitName, str] = {"train": "trnid", "val": "valid", "test": "tstid"}


def read_flowers102(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/flowers-102``.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    data = open_set("Flowers102", root, download)
    base = root / "flowers-102"
    # The published files number the flowers; torchvision knows the names.
    classes = tuple(data.classes)
    (labels,) = read_matlab(base / "imagelabels.mat", "labels")
    photos = []
    for split, numbers in zip(
        _LISTS, read_matlab(base / "setid.mat", *_LISTS.values()), strict=True
    ):
        for number in numbers:
            row = index_of(str(number), 1, len(labels), base / "setid.mat")
            label = index_of(str(labels[row]), 1, len(classes), base / "imagelabels.mat")
            path = base / "jpg" / f"image_{number:05}.jpg"
            photos.append(Photo(path, path.relative_to(root).as_posix(), label, split))
    return Source(
        name="flowers102",
        classes=classes,
        photos=tuple(photos),
        licence="not stated",
        origin="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    )

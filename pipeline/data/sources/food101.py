"""Food-101: 101,000 photographs of 101 dishes.

Bossard et al., "Food-101: Mining Discriminative Components with Random Forests", ECCV 2014.
Publishes train, which holds some wrong labels on purpose, and test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.published import inside, read_lines
from pipeline.data.sources.torchvision_set import open_set
from pipeline.errors import DataError


def read_food101(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/food-101``.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    open_set("Food101", root, download)
    base = root / "food-101"
    classes = tuple(line for _, line in read_lines(base / "meta" / "classes.txt"))
    parts: tuple[SplitName, ...] = ("train", "test")
    photos = []
    for split in parts:
        table = base / "meta" / f"{split}.txt"
        for number, line in read_lines(table):
            dish = line.partition("/")[0]
            if dish not in classes:
                raise DataError(f"{table}, line {number}", f"{dish!r} is not in classes.txt")
            path = base / "images" / f"{inside(line, table)}.jpg"
            photos.append(
                Photo(path, path.relative_to(root).as_posix(), classes.index(dish), split)
            )
    return Source(
        name="food101",
        classes=classes,
        photos=tuple(photos),
        licence="scientific fair use only; the photographs belong to those who took them",
        origin="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    )

"""FGVC-Aircraft: 10,000 photographs of 100 variants of aircraft.

Maji et al., "Fine-Grained Visual Classification of Aircraft", arXiv 1306.5151. Publishes train, val
and test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import SPLITS, Photo, Source
from pipeline.data.sources.published import read_columns, read_lines
from pipeline.data.sources.torchvision_set import open_set
from pipeline.errors import DataError


def read_fgvc_aircraft(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/fgvc-aircraft-2013b`` by variant.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    open_set("FGVCAircraft", root, download)
    data = root / "fgvc-aircraft-2013b" / "data"
    classes = tuple(line for _, line in read_lines(data / "variants.txt"))
    photos = []
    for split in SPLITS:
        table = data / f"images_variant_{split}.txt"
        for number, variant in read_columns(table, 2):
            if variant not in classes:
                raise DataError(table, f"{variant!r} is not in variants.txt")
            path = data / "images" / f"{number}.jpg"
            photos.append(
                Photo(path, path.relative_to(root).as_posix(), classes.index(variant), split)
            )
    return Source(
        name="fgvc_aircraft",
        classes=classes,
        photos=tuple(photos),
        licence="non-commercial research only",
        origin="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    )

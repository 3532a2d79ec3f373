"""EuroSAT: 27,000 satellite photographs of 64 x 64 pixels, 10 kinds of land.

Helber et al., "EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover
Classification", JSTARS 2019. Publishes no splits.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source
from pipeline.data.sources.torchvision_set import open_set


def read_eurosat(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/eurosat/2750``, by class and then by number.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    data = open_set("EuroSAT", root, download)
    photos = []
    for file, label in data.samples:
        path = Path(file)
        photos.append(Photo(path, path.relative_to(root).as_posix(), label))
    return Source(
        name="eurosat",
        classes=tuple(data.classes),
        photos=tuple(sorted(photos, key=lambda photo: (photo.label, _number(photo.path)))),
        licence="MIT",
        origin="https://github.com/phelber/EuroSAT",
    )


def _number(path: Path) -> tuple[int, str]:
    # River_2.jpg before River_10.jpg.
    number = path.stem.rpartition("_")[2]
    return (int(number) if number.isdecimal() else 0, path.name)

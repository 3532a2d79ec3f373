"""GTSRB, the German Traffic Sign Recognition Benchmark: 39,270 photographs of 43 signs.

Stallkamp et al., "Man vs. Computer: Benchmarking Machine Learning Algorithms for Traffic Sign
Recognition", Neural Networks 2012. Publishes train and test. A car that drove up to a sign took a
track of 30 photographs of it, so those of a track are one group.
"""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.data.sources.photos import Photo, Source
from pipeline.data.sources.published import index_of, inside, read_lines
from pipeline.data.sources.torchvision_set import open_set

# The published files number the signs only.
_CLASSES = (
    *(f"speed limit {limit}" for limit in (20, 30, 50, 60, 70, 80)),
    "end of speed limit 80",
    *(f"speed limit {limit}" for limit in (100, 120)),
    "no overtaking",
    "no overtaking by lorries",
    "right of way at the next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no lorries",
    "no entry",
    "danger",
    "bend to the left",
    "bend to the right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows on the right",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "bicycles",
    "snow",
    "wild animals",
    "end of all limits",
    "turn right ahead",
    "turn left ahead",
    "ahead only",
    "ahead or right",
    "ahead or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by lorries",
)


def read_gtsrb(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/gtsrb``.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    for split in ("train", "test"):
        open_set("GTSRB", root, download, split=split)
    base = root / "gtsrb"
    training = base / "GTSRB" / "Training"
    photos = []
    for path in sorted(training.glob("*/*.ppm")):
        label = index_of(path.parent.name, 0, len(_CLASSES), path)
        track = f"{path.parent.name}/{path.stem.partition('_')[0]}"
        photos.append(Photo(path, path.relative_to(root).as_posix(), label, "train", track))
    table = base / "GT-final_test.csv"
    for row in csv.DictReader([line for _, line in read_lines(table)], delimiter=";"):
        name = inside(row.get("Filename") or "", table)
        path = base / "GTSRB" / "Final_Test" / "Images" / name
        label = index_of(row.get("ClassId") or "", 0, len(_CLASSES), table)
        photos.append(Photo(path, path.relative_to(root).as_posix(), label, "test"))
    return Source(
        name="gtsrb",
        classes=_CLASSES,
        photos=tuple(photos),
        licence="not stated",
        origin="https://benchmark.ini.rub.de/gtsrb_dataset.html",
    )

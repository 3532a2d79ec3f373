"""CUB-200-2011: 11,788 photographs of 200 birds.

Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", CNS-TR-2011-001. Publishes train and test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source
from pipeline.data.sources.published import index_of, inside, read_columns
from pipeline.errors import DataError


def read_cub200(folder: Path) -> Source:
    """Lists the photographs of a folder ``CUB_200_2011``.

    Raises:
        DataError: The folder is not as published.
    """
    rows = read_columns(folder / "classes.txt", 2)
    # 001.Black_footed_Albatross
    classes = tuple(name.partition(".")[2].replace("_", " ") for _, name in rows)
    if [number for number, _ in rows] != [str(n) for n in range(1, len(rows) + 1)]:
        raise DataError(folder / "classes.txt", "does not number the classes from 1 without a gap")
    label_of = dict(read_columns(folder / "image_class_labels.txt", 2))
    is_training = dict(read_columns(folder / "train_test_split.txt", 2))
    photos = []
    for number, name in read_columns(folder / "images.txt", 2):
        where = f"{folder / 'images.txt'}, photograph {number}"
        label = index_of(label_of.get(number, ""), 1, len(classes), where)
        part = index_of(is_training.get(number, ""), 0, 2, where)
        path = folder / "images" / inside(name, where)
        photos.append(Photo(path, f"images/{name}", label, "train" if part else "test"))
    return Source(
        name="cub200",
        classes=classes,
        photos=tuple(photos),
        licence="non-commercial research and education only",
        origin="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    )

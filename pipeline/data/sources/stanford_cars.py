"""Stanford Cars: 16,185 photographs of 196 makes, models and years.

Krause et al., "3D Object Representations for Fine-Grained Categorization", 3dRR 2013. Publishes
train and test. Its own site is gone, so that torchvision no longer fetches it, only reads it.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.published import index_of, inside, read_matlab
from pipeline.data.sources.torchvision_set import open_set


def read_stanford_cars(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/stanford_cars``.

    Raises:
        DataError: The set is not there or not as published.
    """
    open_set("StanfordCars", root, download, split="train")
    base = root / "stanford_cars"
    (names,) = read_matlab(base / "devkit" / "cars_meta.mat", "class_names")
    classes = tuple(str(name) for name in names)
    tables: dict[SplitName, Path] = {
        "train": base / "devkit" / "cars_train_annos.mat",
        "test": base / "cars_test_annos_withlabels.mat",
    }
    photos = []
    for split, table in tables.items():
        (rows,) = read_matlab(table, "annotations")
        for row in rows:
            path = base / f"cars_{split}" / inside(str(row["fname"]), table)
            label = index_of(str(row["class"]), 1, len(classes), table)
            photos.append(Photo(path, path.relative_to(root).as_posix(), label, split))
    return Source(
        name="stanford_cars",
        classes=classes,
        photos=tuple(photos),
        licence="not stated",
        origin="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    )

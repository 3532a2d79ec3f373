"""Tiny-ImageNet: 110,000 labelled photographs of 64 x 64 pixels, 200 classes of ImageNet.

Stanford CS231N. The labels of its test photographs were never published, so its validation set
stands for the test split here, as in the literature, and validation is carved from train.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.data.sources.photos import Photo, Source
from pipeline.data.sources.published import inside, read_columns, read_lines
from pipeline.errors import DataError


def read_tiny_imagenet(folder: Path) -> Source:
    """Lists the photographs of a folder ``tiny-imagenet-200``.

    Raises:
        DataError: The folder is not as published.
    """
    synsets = [line for _, line in read_lines(folder / "wnids.txt")]
    labels = {synset: label for label, synset in enumerate(synsets)}
    photos = []
    for synset, label in labels.items():
        images = folder / "train" / inside(synset, folder / "wnids.txt") / "images"
        if not images.is_dir():
            raise DataError(images, "is not there", "fetch the data set again")
        for path in sorted(images.glob("*.JPEG")):
            photos.append(Photo(path, path.relative_to(folder).as_posix(), label, "train"))
    table = folder / "val" / "val_annotations.txt"
    # The other columns are the corners of a box.
    for name, synset, *_ in read_columns(table, 6):
        if synset not in labels:
            raise DataError(table, f"{synset!r} is not in wnids.txt")
        path = folder / "val" / "images" / inside(name, table)
        photos.append(Photo(path, path.relative_to(folder).as_posix(), labels[synset], "test"))
    return Source(
        name="tiny_imagenet",
        classes=_name_classes(synsets, folder / "words.txt"),
        photos=tuple(photos),
        licence="not stated; ImageNet's own terms are non-commercial research and education",
        origin="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    )


def _name_classes(synsets: list[str], table: Path) -> tuple[str, ...]:
    words = dict(read_columns(table, 2, "\t"))
    missing = next((synset for synset in synsets if synset not in words), None)
    if missing is not None:
        raise DataError(table, f"has no words for {missing!r}", "fetch the data set again")
    names = [words[synset].partition(",")[0].strip() for synset in synsets]
    times = Counter(name.casefold() for name in names)
    # A crane is a bird and a machine: the number of the synset tells them apart.
    return tuple(
        name if times[name.casefold()] == 1 else f"{name} ({synset})"
        for name, synset in zip(names, synsets, strict=True)
    )

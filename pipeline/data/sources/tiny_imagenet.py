"""Tiny ImageNet in its published layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.data.sources.base import DataSource, Listing, Sample
from pipeline.data.sources.published_files import read_columns, read_lines, safe_name
from pipeline.errors import DataError
from pipeline.plugins import SOURCES


@SOURCES.register("tiny_imagenet")
class TinyImageNet(DataSource):
    """110,000 labeled images of 64 x 64 pixels with 200 ImageNet classes (Stanford CS231N).

    The labels of the test images are not published. As in the literature, the validation images
    are the test split.
    """

    license = "not stated; ImageNet's own terms are non-commercial research and education"
    origin = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``tiny-imagenet-200``."""
        synsets = [line for _, line in read_lines(path / "wnids.txt")]
        labels = {synset: label for label, synset in enumerate(synsets)}
        samples = []
        for synset, label in labels.items():
            images = path / "train" / safe_name(synset, path / "wnids.txt") / "images"
            if not images.is_dir():
                raise DataError(images, "is missing", "fetch the data set again")
            for file in sorted(images.glob("*.JPEG")):
                samples.append(Sample.below(path, file, label, "train"))
        table = path / "val" / "val_annotations.txt"
        for name, synset, *_box in read_columns(table, 6):
            if synset not in labels:
                raise DataError(table, f"{synset!r} is not in wnids.txt")
            file = path / "val" / "images" / safe_name(name, table)
            samples.append(Sample.below(path, file, labels[synset], "test"))
        return _class_names(synsets, path / "words.txt"), samples


def _class_names(synsets: list[str], table: Path) -> list[str]:
    words = dict(read_columns(table, 2, "\t"))
    for synset in synsets:
        if synset not in words:
            raise DataError(table, f"has no words for {synset!r}", "fetch the data set again")
    names = [words[synset].partition(",")[0].strip() for synset in synsets]
    counts = Counter(name.casefold() for name in names)
    # Two synsets are called crane, the bird and the machine: add the synset to such names.
    return [
        name if counts[name.casefold()] == 1 else f"{name} ({synset})"
        for name, synset in zip(names, synsets, strict=True)
    ]

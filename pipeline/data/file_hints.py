"""How well the files tell the classes, without any pixel.

If each class has another source, its files differ in size or format from those of the others. A
network may then learn the source, and its accuracy says nothing about the classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from pipeline.data.decoding import DecodedImages

MIN_IMAGES = 50
"""Fewer images are not examined."""

MAX_TOLD = 0.5
"""Of the images outside of the largest class, the fraction that files may tell without a remark."""


def remark_on_files(images: DecodedImages) -> str:
    """A remark if width, height and suffix tell the class of most images; otherwise empty."""
    labels = [sample.label for sample in images.samples]
    if len(labels) < MIN_IMAGES:
        return ""
    sizes = images.records["size"].tolist()
    files = [
        (*size, sample.path.suffix.lower())
        for size, sample in zip(sizes, images.samples, strict=True)
    ]
    told, largest = told_by(files, labels), max(Counter(labels).values()) / len(labels)
    if told - largest <= MAX_TOLD * (1 - largest):
        return ""
    return (
        f"width, height and suffix alone tell the class of {told:.0%} of the images (the largest "
        f"class has {largest:.0%}): if the classes come from different sources, a network may "
        "learn the source instead"
    )


def told_by(features: Sequence[Hashable], labels: Sequence[int]) -> float:
    """Fraction of images whose label is the most frequent one of the other images alike.

    An image like no other counts as one of the largest class. A tie counts as wrong.
    """
    alike: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for feature, label in zip(features, labels, strict=True):
        alike[feature][label] += 1
    largest = Counter(labels).most_common(1)[0][0]
    right = 0
    for counts in alike.values():
        (best, most), *second = counts.most_common(2)
        if counts.total() == 1:
            right += best == largest
        elif most - 1 > sum(count for _, count in second):
            right += most
    return right / len(labels)

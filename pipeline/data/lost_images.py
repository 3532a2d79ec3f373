"""The images of each class that are not used: passed over by the source, or unusable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.data.sources.base import ImageDataset, PassedOver, Sample
from pipeline.data.sources.passed_over import count_by_suffix, describe, how_to_read
from pipeline.errors import DataError


def check_lost(dataset: ImageDataset, bad: Sequence[Sample], *, max_loss: float) -> None:
    """Checks that no class loses too many of its image files.

    Args:
        dataset: All samples, and the files that the source passed over. Only images in the folder
            of a class count.
        bad: The samples that cannot be used.
        max_loss: Fraction of a class's image files that may be lost.

    Raises:
        DataError: A class loses more; the message names the one that loses the largest fraction.
    """
    images = len(dataset.classes) * [0]
    unread: list[list[PassedOver]] = [[] for _ in dataset.classes]
    unusable: list[list[Sample]] = [[] for _ in dataset.classes]
    for sample in dataset.samples:
        images[sample.label] += 1
    for file in dataset.passed_over:
        if file.is_image and file.label is not None:
            images[file.label] += 1
            unread[file.label].append(file)
    for sample in bad:
        unusable[sample.label].append(sample)
    lost = [
        (len(unread[label]) + len(unusable[label])) / count if count else 0.0
        for label, count in enumerate(images)
    ]
    losing = [label for label, fraction in enumerate(lost) if fraction > max_loss]
    if not losing:
        return
    worst = max(losing, key=lambda label: lost[label])
    kinds = count_by_suffix(unread[worst])
    parts = [f"not read: {describe(kinds)}"] if kinds else []
    if unusable[worst]:
        parts.append(f"unusable: {_count_suffixes(unusable[worst])}")
    count = len(unread[worst]) + len(unusable[worst])
    others = f"; {len(losing) - 1} more classes lose too many" if len(losing) > 1 else ""
    remedies = [how_to_read(kinds)] if kinds else []
    if unusable[worst]:
        remedies.append("fix or replace the unusable ones (see reports/audit.json)")
    remedies.append(f"or set prepare.max_loss (now {max_loss:g}) to accept the loss")
    raise DataError(
        f"class {dataset.classes[worst]!r}",
        f"loses {count:,} of {images[worst]:,} image files ({'; '.join(parts)}){others}",
        ", ".join(remedies),
    )


def _count_suffixes(samples: Iterable[Sample]) -> str:
    files = [PassedOver(sample.name, is_image=True) for sample in samples]
    return describe(count_by_suffix(files))

"""A first look at the images of a new project, before anything is split or trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.data.audit import Audit
from pipeline.data.sources.passed_over import count_by_suffix, describe

_MAX_CLASSES = 20


def describe_images(audit: Audit) -> Iterator[str]:
    """Lines on classes, sizes, unusable files and duplicates.

    Findings that `prepare` does not accept come with what to do about them.
    """
    dataset, usable = audit.dataset, audit.usable
    yield f"{len(dataset.samples):,} images of {len(dataset.classes)} classes"
    yield from _classes(audit)
    yield from dataset.remarks
    if len(usable):
        yield _sizes(audit)
    for kind in count_by_suffix(dataset.passed_over):
        yield f"not read: {describe([kind])}, such as {kind.examples[0]}"
    if audit.bad:
        sample, problem = audit.bad[0]
        yield (
            f"unusable: {len(audit.bad)}, such as {sample.name} ({problem}); `dvc repro` stops at "
            "them: replace or remove them, or set prepare.on_bad: skip"
        )
    if audit.copies:
        names = " = ".join(usable.samples[index].name for index in audit.copies[0][:3])
        mixed = sum(map(audit.across_labels, audit.copies))
        labels = f", {mixed} with different labels" if mixed else ""
        yield f"copies: {len(audit.copies)} groups{labels}, such as {names}"
    if pairs := audit.near.pairs.tolist():
        names = " and ".join(usable.samples[index].name for index in pairs[0])
        yield f"near-duplicates: {len(pairs)} pairs, such as {names}; they stay in one split"
    findings = (
        ("smaller than the input of the networks", audit.small),
        ("much longer than wide: the center is used", audit.elongated),
        ("of one color", audit.blank),
        ("nearly black", audit.dark),
        ("of another format than their suffix says", audit.other_format),
    )
    for what, indices in findings:
        if indices:
            yield f"{what}: {len(indices)} images, such as {usable.samples[indices[0]].name}"


def _classes(audit: Audit) -> Iterator[str]:
    """Number of images per class; of many classes, the smallest and the largest."""
    names = audit.dataset.classes
    labels = [sample.label for sample in audit.dataset.samples]
    counts = np.bincount(labels, minlength=len(names)).tolist()
    rows = list(zip(names, counts, strict=True))
    if len(rows) <= _MAX_CLASSES:
        yield from _table(rows)
        return
    rows.sort(key=lambda row: row[1])
    shown = _MAX_CLASSES // 2
    yield from _table(rows[:shown])
    yield f"  … {len(rows) - 2 * shown} more classes"
    yield from _table(rows[-shown:])


def _table(rows: Sequence[tuple[str, int]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    yield from (f"  {name:{width}} {count:6,}" for name, count in rows)


def _sizes(audit: Audit) -> str:
    sizes = audit.usable.records["size"].astype(np.int64)  # width, height
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    least, middle, most = (sizes[order[i]].tolist() for i in (0, len(order) // 2, -1))
    texts = [f"{width} x {height}" for width, height in (least, middle, most)]
    return f"sizes: {texts[0]} to {texts[2]} pixels, median {texts[1]}"

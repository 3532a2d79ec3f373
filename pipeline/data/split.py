"""Assigns images to the training, validation and test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.base import SPLITS, ImageDataset, Sample, SplitName
from pipeline.data.sources.split_plan import plan_splits
from pipeline.data.stratify import stratify
from pipeline.errors import DataError
from pipeline.params import Prepare


def split_dataset(dataset: ImageDataset, prepare: Prepare) -> dict[SplitName, list[int]]:
    """Splits a data set as ``plan_splits`` plans it.

    ``blocks`` keeps runs of ``prepare.block`` neighbors in one split, because neighbors often show
    the same object; ``random`` does not. Both keep groups together. ``published`` uses the source's
    own splits, even if they divide a group. Validation and test splits that the source does not
    have are taken from its training split, by blocks of whole groups.

    Returns:
        Sorted indices into ``dataset.samples`` per split.

    Raises:
        DataError: A class is missing from a split, or the source has no training split.
    """
    labels = np.array([sample.label for sample in dataset.samples])
    groups = group_numbers(dataset)
    plan = plan_splits(dataset, prepare.split)
    own = np.array([sample.split or "" for sample in dataset.samples])
    is_published = plan.method == "published"
    made = ("train", *plan.carved) if is_published else SPLITS
    chosen = {name: np.flatnonzero(own == name).tolist() for name in SPLITS if name not in made}
    pool = np.flatnonzero(own == "train") if is_published else np.arange(len(labels))
    if made == ("train",):
        chosen["train"] = pool.tolist()
    else:
        fractions = [getattr(prepare.fractions, name) for name in made]
        block = 1 if plan.method == "random" else prepare.block
        parts = stratify(labels[pool], fractions, block, prepare.seed, groups[pool])
        chosen |= {name: pool[part].tolist() for name, part in zip(made, parts, strict=True)}
    # Splits of the source for validation and test may lack a class, those that are made may not.
    by_block = plan.method != "random" and len(made) > 1
    for name in made:
        counts = np.bincount(labels[chosen[name]], minlength=len(dataset.classes))
        for label in np.flatnonzero(counts == 0):
            of_class = groups[pool][labels[pool] == label]
            remedy = _remedy(of_class, by_block, len(made), bool(prepare.group_by))
            raise DataError(
                f"class {dataset.classes[label]!r}", f"is missing from split {name!r}", remedy
            )
    return {name: chosen[name] for name in SPLITS}


def _remedy(groups: NDArray[np.int64], by_block: bool, splits: int, is_grouped: bool) -> str:
    """Remedy for a class that a split lacks; ``groups`` are those of its images to be split."""
    found = len(set(groups.tolist()))
    if len(groups) < splits:
        return f"it has {len(groups)} images for {splits} splits: add some"
    if found < splits and is_grouped:
        return (
            f"groups by prepare.group_by, of which it has {found}, stay in one split: add images "
            "of further groups, or change prepare.group_by"
        )
    if found < splits:
        return (
            "its images are in too few groups, and a group stays in one split: add some, or lower "
            "prepare.near_duplicate_distance if near-duplicates are the groups"
        )
    if by_block:
        return "lower prepare.block, or set prepare.split to random"
    return "add images of it, or change prepare.fractions"


def merge_groups(dataset: ImageDataset, pairs: NDArray[np.int64]) -> ImageDataset:
    """Merges the groups of the images of every pair; int64 [k, 2], sample indices."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = group_numbers(dataset)
    count = int(groups.max(initial=-1)) + 1
    ends = groups[pairs]
    links = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    merged = connected_components(links, directed=False)[1][groups]
    samples = tuple(
        replace(sample, group=f"group {group}")
        for sample, group in zip(dataset.samples, merged, strict=True)
    )
    return replace(dataset, samples=samples)


def groups_across_splits(
    samples: Sequence[Sample], splits: Mapping[SplitName, Sequence[int]]
) -> dict[str, list[SplitName]]:
    """Groups that lie in more than one split, with these splits."""
    found: dict[str, list[SplitName]] = {}
    for split, indices in splits.items():
        for group in {samples[index].group for index in indices} - {None}:
            found.setdefault(str(group), []).append(split)
    return {group: names for group, names in sorted(found.items()) if len(names) > 1}


def group_numbers(dataset: ImageDataset) -> NDArray[np.int64]:
    """Group number of every sample, int64 [samples]; one without a group has its own number."""
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(index if sample.group is None else sample.group, len(numbers))
            for index, sample in enumerate(dataset.samples)
        ]
    )

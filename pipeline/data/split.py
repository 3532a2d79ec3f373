"""Assigns images to the training, validation and test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.base import SPLITS, ImageDataset, Sample, SplitName
from pipeline.data.sources.split_plan import plan_splits
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
            remedy = _remedy(groups[pool][labels[pool] == label], by_block, len(made))
            raise DataError(
                f"class {dataset.classes[label]!r}", f"is missing from split {name!r}", remedy
            )
    return {name: chosen[name] for name in SPLITS}


def _remedy(groups: NDArray[np.int64], by_block: bool, splits: int) -> str:
    """Remedy for a class that a split lacks; ``groups`` are those of its images to be split."""
    if len(groups) < splits:
        return f"it has {len(groups)} images for {splits} splits: add some"
    if len(set(groups.tolist())) < splits:
        return (
            "its images are in too few groups, and a group stays in one split: add some, or lower "
            "prepare.near_duplicate_distance if near-duplicates are the groups"
        )
    if by_block:
        return "lower prepare.block, or set prepare.split to random"
    return "add images of it, or change prepare.fractions"


def stratify(
    labels: NDArray[np.int64],
    fractions: Sequence[float],
    block: int,
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> list[NDArray[np.int64]]:
    """Divides images into parts by blocks of neighbors, with similar class proportions.

    Minimizes the squared relative deviations of class counts and part sizes from their targets.
    Blocks are assigned greedily, those with a large fraction of a class first. Then single blocks
    are moved while this helps. Last, a part that lacks a class gets a block of it, if possible.

    ``fractions`` are the relative sizes of the parts; ``seed`` breaks ties between blocks. Images
    with the same number in ``groups``, int64 [images], are in one block, which may make it longer
    than ``block`` images. With None, every image is a group.

    Returns:
        Sorted indices of every part.
    """
    blocks = _number_blocks(np.arange(len(labels)) if groups is None else groups, block)
    classes, columns, totals = np.unique(labels, return_inverse=True, return_counts=True)
    counts = np.zeros((blocks.max() + 1, len(classes)))
    np.add.at(counts, (blocks, columns), 1)
    # The last column, a block's fraction of all images, balances the sizes of the parts.
    weights = np.column_stack([counts / totals, counts.sum(axis=1) / len(labels)])
    deficit = np.outer(fractions, np.ones(weights.shape[1])) / sum(fractions)

    def cost(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change of the deviation if a block of this weight were added to each part."""
        return np.asarray(((weight - 2 * deficit) * weight).sum(axis=1))

    part_of_block = np.zeros(len(weights), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(weights))
    for index in order[np.argsort(-weights[order].max(axis=1), kind="stable")]:
        part_of_block[index] = np.argmin(cost(weights[index]))
        deficit[part_of_block[index]] -= weights[index]

    moved = True
    while moved:
        moved = False
        for index, weight in enumerate(weights):
            old = part_of_block[index]
            deficit[old] += weight
            costs = cost(weight)
            new = int(np.argmin(costs))
            # The tolerance prevents endless moves due to rounding.
            if costs[new] > costs[old] - 1e-12:
                new = old
            deficit[new] -= weight
            part_of_block[index] = new
            moved |= bool(new != old)

    _add_missing_classes(counts, weights, deficit, part_of_block)
    part_of_image = part_of_block[blocks]
    return [np.flatnonzero(part_of_image == part) for part in range(len(fractions))]


def _add_missing_classes(
    counts: NDArray[np.float64],
    weights: NDArray[np.float64],
    deficit: NDArray[np.float64],
    part_of_block: NDArray[np.int64],
) -> None:
    """Moves blocks to parts that lack a class, unless this removes a class from a part."""
    holders = np.zeros((len(deficit), counts.shape[1]), dtype=int)
    np.add.at(holders, part_of_block, counts > 0)

    def cost(block: int, part: int) -> float:
        """Change of the deviation if this block were moved to this part."""
        weight = weights[block]
        old = deficit[part_of_block[block]]
        return float(weight @ (weight + 2 * old + weight - 2 * deficit[part]))

    for part, missing in np.argwhere(holders == 0).tolist():
        movable = [
            block
            for block in np.flatnonzero(counts[:, missing]).tolist()
            if np.all(holders[part_of_block[block], counts[block] > 0] > 1)
        ]
        # A block moved for another class may have brought this one.
        if movable and not holders[part, missing]:
            block = min(movable, key=lambda block: cost(block, part))
            for changed, sign in ((part_of_block[block], -1), (part, 1)):
                deficit[changed] -= sign * weights[block]
                holders[changed] += sign * (counts[block] > 0)
            part_of_block[block] = part


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


def _number_blocks(groups: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """Block number of every image, [images].

    Groups are ordered by their first image. A block is filled with whole groups until it has
    ``block`` images or more.
    """
    _, first, members, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    block_of_group = np.zeros(len(sizes), dtype=np.int64)
    number, filled = 0, 0
    for group in np.argsort(first):
        if filled >= block:
            number, filled = number + 1, 0
        block_of_group[group] = number
        filled += sizes[group]
    return np.asarray(block_of_group[members])

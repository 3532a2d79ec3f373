"""Which photograph goes to which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.photos import SPLITS, Source, SplitName
from pipeline.errors import DataError
from pipeline.params import Prepare


def split_photos(source: Source, prepare: Prepare) -> dict[SplitName, list[int]]:
    """Splits a source's photographs.

    ``blocks`` keeps runs of ``prepare.block`` neighbours in one split, because neighbours are
    often cells of one module or shots of one object and would leak; ``random`` does not. Both
    keep the photographs of a group in one split. ``published`` takes the source's own splits, even
    where they part a group (see ``parted_groups``), and carves validation from train if it has
    none, again by blocks of whole groups.

    Returns:
        Indices into ``source.photos`` per split, rising.

    Raises:
        DataError: A class would be missing from a split, or there are no published splits.
    """
    labels = np.array([photo.label for photo in source.photos])
    groups = _number_groups(source)
    fractions = [getattr(prepare.fractions, name) for name in SPLITS]
    as_published: set[SplitName] = set()
    if prepare.split == "published":
        published = np.array([photo.split or "" for photo in source.photos])
        for needed in ("train", "test"):
            if needed not in published:
                raise DataError(
                    f"source {source.name!r}",
                    f"publishes no {needed} split",
                    "set prepare.split to blocks or random",
                )
        chosen = {name: np.flatnonzero(published == name).tolist() for name in SPLITS}
        # These are taken as they are, even when they lack a class; training cannot do without one.
        as_published = {name for name in SPLITS if name != "train" and chosen[name]}
        if not chosen["val"]:
            pool = np.array(chosen["train"])
            keep, carve = fractions[0], fractions[1]
            parts = stratify(labels[pool], [keep, carve], prepare.block, prepare.seed, groups[pool])
            chosen["train"], chosen["val"] = (pool[part].tolist() for part in parts)
    else:
        run_length = prepare.block if prepare.split == "blocks" else 1
        parts = stratify(labels, fractions, run_length, prepare.seed, groups)
        chosen = {name: part.tolist() for name, part in zip(SPLITS, parts, strict=True)}
    _refuse_missing_classes(source, labels, groups, chosen, prepare, as_published)
    return chosen


def stratify(
    labels: NDArray[np.int64],
    shares: Sequence[float],
    run_length: int,
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> list[NDArray[np.int64]]:
    """Deals blocks of neighbours to parts so that every class comes near its share in every part.

    First greedily, blocks heavy in a class first; then single blocks move for as long as a move
    helps. What is kept small is the summed squared deviation from the wanted counts, of each class
    and of all images, relative to them. A part that this leaves without a class then gets a block
    of it from a part that can spare one.

    Args:
        labels: int64 [images].
        shares: The wanted size of every part, relative to each other.
        run_length: Neighbouring images in a block.
        seed: Decides between blocks that are alike.
        groups: int64 [images]: images with the same number share a block, which may make it longer.

    Returns:
        The images of every part, rising.
    """
    if groups is None:
        groups = np.arange(len(labels))
    blocks = _gather_blocks(groups, run_length)
    counts_all = np.bincount(labels)
    present = np.flatnonzero(counts_all)
    column = np.zeros(len(counts_all), dtype=int)
    column[present] = np.arange(len(present))
    counts = np.zeros((blocks.max() + 1, len(present)))
    np.add.at(counts, (blocks, column[labels]), 1)
    # The last column, a block's share of all images, settles what the classes leave open.
    weights = np.column_stack([counts / counts_all[present], counts.sum(axis=1) / len(labels)])
    gap = np.outer(shares, np.ones(weights.shape[1])) / sum(shares)

    def growth(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Growth of the deviation if a block of this weight came to each part."""
        return np.asarray(((weight - 2 * gap) * weight).sum(axis=1))

    part_of_block = np.zeros(len(weights), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(weights))
    for block in order[np.argsort(-weights[order].max(axis=1), kind="stable")]:
        part_of_block[block] = np.argmin(growth(weights[block]))
        gap[part_of_block[block]] -= weights[block]

    moved = True
    while moved:
        moved = False
        for block, weight in enumerate(weights):
            old = part_of_block[block]
            gap[old] += weight
            change = growth(weight)
            new = int(np.argmin(change))
            # Rounding must not move a block to and fro for ever.
            if change[new] > change[old] - 1e-12:
                new = old
            gap[new] -= weight
            part_of_block[block] = new
            moved |= bool(new != old)

    _fill_lacks(counts, weights, gap, part_of_block)
    part_of_image = part_of_block[blocks]
    return [np.flatnonzero(part_of_image == part) for part in range(len(shares))]


def _fill_lacks(
    counts: NDArray[np.float64],
    weights: NDArray[np.float64],
    gap: NDArray[np.float64],
    part_of_block: NDArray[np.int64],
) -> None:
    """Gives each part a block of every class that it lacks, in place, where one can be spared.

    Args:
        counts: [blocks, classes], images.
        weights: [blocks, classes + 1], shares of all images of the class and of all images.
        gap: [parts, classes + 1], what the parts still want.
        part_of_block: [blocks].
    """
    holders = np.zeros((len(gap), counts.shape[1]), dtype=int)
    np.add.at(holders, part_of_block, counts > 0)

    def cost(block: int, part: int) -> float:
        """Growth of the deviation if this block went from its part to that one."""
        weight = weights[block]
        return float(weight @ (weight + 2 * gap[part_of_block[block]] + weight - 2 * gap[part]))

    for part, lacking in np.argwhere(holders == 0).tolist():
        spare = [
            block
            for block in np.flatnonzero(counts[:, lacking]).tolist()
            if np.all(holders[part_of_block[block], counts[block] > 0] > 1)
        ]
        # A block that came for another class may have brought this one along.
        if spare and not holders[part, lacking]:
            block = min(spare, key=lambda block: cost(block, part))
            for home, sign in ((part_of_block[block], -1), (part, 1)):
                gap[home] -= sign * weights[block]
                holders[home] += sign * (counts[block] > 0)
            part_of_block[block] = part


def keep_together(source: Source, pairs: NDArray[np.int64]) -> Source:
    """The source with groups that hold both photographs of every pair, and all of their groups.

    Args:
        source: With or without groups of its own.
        pairs: int64 [k, 2], places of photographs that must not be parted.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = _number_groups(source)
    count = int(groups.max(initial=-1)) + 1
    ends = groups[pairs]
    links = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    joined = connected_components(links, directed=False)[1][groups]
    is_shared = np.bincount(joined, minlength=1) > 1
    photos = tuple(
        replace(photo, group=f"group {group}") if is_shared[group] else photo
        for photo, group in zip(source.photos, joined, strict=True)
    )
    return replace(source, photos=photos)


def parted_groups(
    source: Source, splits: Mapping[SplitName, Sequence[int]]
) -> dict[str, tuple[SplitName, ...]]:
    """The groups that lie in more than one split, by name; only published splits part any."""
    homes: dict[str, set[SplitName]] = {}
    for split, indices in splits.items():
        for index in indices:
            group = source.photos[index].group
            if group is not None:
                homes.setdefault(group, set()).add(split)
    return {
        group: tuple(split for split in SPLITS if split in found)
        for group, found in sorted(homes.items())
        if len(found) > 1
    }


def _number_groups(source: Source) -> NDArray[np.int64]:
    """[photos]: the number of each photograph's group; one without a group is its own."""
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(position if photo.group is None else photo.group, len(numbers))
            for position, photo in enumerate(source.photos)
        ]
    )


def _gather_blocks(groups: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """[photos]: the block of each photograph.

    Groups follow each other by their first photograph; each block takes whole groups until it has
    ``block`` photographs or more. Without groups these are runs of ``block`` neighbours.
    """
    _, first, members, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    home = np.zeros(len(sizes), dtype=np.int64)
    number, filled = 0, 0
    for group in np.argsort(first):
        if filled >= block:
            number, filled = number + 1, 0
        home[group] = number
        filled += sizes[group]
    return np.asarray(home[members])


def _refuse_missing_classes(
    source: Source,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    chosen: dict[SplitName, list[int]],
    prepare: Prepare,
    as_published: set[SplitName],
) -> None:
    dealt_by_block = prepare.split != "random" and "val" not in as_published
    totals = np.bincount(labels, minlength=len(source.classes))
    for name in (name for name in SPLITS if name not in as_published):
        counts = np.bincount(labels[chosen[name]], minlength=len(source.classes))
        for label in np.flatnonzero(counts == 0):
            if totals[label] < len(SPLITS):
                remedy = f"it has {totals[label]} images for {len(SPLITS)} splits: add some"
            elif len(set(groups[labels == label].tolist())) < len(SPLITS):
                remedy = "a group stays in one split, and its images are too few groups: add some"
            elif dealt_by_block:
                remedy = "lower prepare.block, or set prepare.split to random"
            else:
                remedy = "add images of it, or change prepare.fractions"
            raise DataError(
                f"class {source.classes[label]!r}", f"is missing from split {name!r}", remedy
            )

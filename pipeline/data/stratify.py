"""Divides images into parts with similar class proportions, such as splits and folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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

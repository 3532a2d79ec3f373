"""Photographs that are there twice: the very same ones, and ones that look the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.progress import Track, silent

MAX_PAIRS = 100_000
"""The search ends here: in a set of which half looks like the rest, no list is of use."""

# A tile of 16 x 8192 hashes of 8 bytes stays in a core's cache: five times as fast as whole rows.
_ROWS, _COLUMNS = 16, 8192


@dataclass(frozen=True)
class NearPairs:
    """Pairs of hashes that are close to each other.

    Attributes:
        pairs: int64 [k, 2], places; the lower first, in rising order.
        distances: int64 [k], bits in which they differ.
        complete: False when there were more than ``MAX_PAIRS``.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.int64]
    complete: bool


def same(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers digests uint8 [n, bytes] so that equal ones, and only they, have equal numbers."""
    rows = np.ascontiguousarray(digests).view(np.dtype((np.void, digests.shape[1]))).ravel()
    numbers: NDArray[np.int64] = np.unique(rows, return_inverse=True)[1].astype(np.int64)
    return numbers


def same_by_either(first: NDArray[np.int64], second: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups of places that hang together by equal numbers in one list or the other.

    Args:
        first: int64 [n].
        second: int64 [n].

    Returns:
        Groups of two and more, each int64 and rising, in the order of their first members.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(first)
    places = np.arange(count)
    # Each place is linked to a node for its number in either list.
    ends = np.concatenate([count + first, count + first.max(initial=0) + 1 + second])
    starts = np.concatenate([places, places])
    nodes = int(ends.max(initial=0)) + 1
    links = coo_array((np.ones(len(ends), bool), (starts, ends)), shape=(nodes, nodes))
    component = connected_components(links, directed=False)[1][:count]
    order = np.argsort(component, kind="stable")
    cuts = np.flatnonzero(np.diff(component[order])) + 1
    groups = [group for group in np.split(order, cuts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def near(hashes: NDArray[np.uint64], distance: int, track: Track = silent) -> NearPairs:
    """Finds all pairs of hashes that differ in no more than ``distance`` bits.

    Every pair is compared, most of them in their first 64 bits only: 100,000 hashes take 5 s on one
    core and a few megabytes, ten times as many a hundred times as long and no more memory.

    Args:
        hashes: uint64 [n, words].
        distance: In bits.
        track: Shows progress.
    """
    first = np.ascontiguousarray(hashes[:, 0])
    found, total = [np.empty((0, 3), np.int64)], 0
    tiles = range(0, len(hashes), _ROWS)
    for row in track(tiles, "comparing", len(tiles)):
        if total > MAX_PAIRS:
            continue  # lets the bar end
        for column in range(row - row % _COLUMNS, len(hashes), _COLUMNS):
            found.append(_near_in_tile(hashes, first, row, column, distance))
            total += len(found[-1])
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))][:MAX_PAIRS]
    return NearPairs(pairs[:, :2], pairs[:, 2], total <= MAX_PAIRS)


def _near_in_tile(
    hashes: NDArray[np.uint64],
    first: NDArray[np.uint64],
    row: int,
    column: int,
    distance: int,
) -> NDArray[np.int64]:
    """Rows of (place, later place, distance) within one tile."""
    apart = np.bitwise_count(
        first[row : row + _ROWS, None] ^ first[None, column : column + _COLUMNS]
    )
    hits = np.flatnonzero(apart <= distance)
    a, b = row + hits // apart.shape[1], column + hits % apart.shape[1]
    later = b > a
    a, b = a[later], b[later]
    distances = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1, dtype=np.int64)
    close = distances <= distance
    return np.column_stack([a[close], b[close], distances[close]])

"""Searches for exact duplicates and near-duplicates by their hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.progress import Track, silent

MAX_PAIRS = 100_000
"""The search for near-duplicates stops after this many pairs."""

# Tiles of 16 x 8192 hashes fit into the cache of a core: five times as fast as whole rows.
_ROWS, _COLUMNS = 16, 8192


@dataclass(frozen=True)
class NearPairs:
    """Pairs of similar hashes.

    Attributes:
        pairs: int64 [k, 2], indices, sorted; the lower index of a pair is first.
        distances: int64 [k], Hamming distances in bits.
        complete: False if the search stopped at ``MAX_PAIRS``.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.int64]
    complete: bool


def group_equal(digests: NDArray[np.uint8]) -> list[list[int]]:
    """Groups of two or more indices of equal digests, uint8 [n, bytes], by first index."""
    groups: dict[bytes, list[int]] = {}
    for index, digest in enumerate(digests):
        groups.setdefault(digest.tobytes(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def find_near(hashes: NDArray[np.uint64], distance: int, track: Track = silent) -> NearPairs:
    """Finds all pairs of hashes, uint64 [n, words], that differ in at most ``distance`` bits.

    Compares all pairs, most of them by their first 64 bits only. 100,000 hashes take about 5 s on
    one core and a few megabytes of memory. The time grows quadratically.
    """
    first_words = np.ascontiguousarray(hashes[:, 0])

    def find_in_tile(row: int, column: int) -> NDArray[np.int64]:
        """Rows of (index, larger index, distance)."""
        rows, columns = first_words[row : row + _ROWS], first_words[column : column + _COLUMNS]
        bits = np.bitwise_count(rows[:, None] ^ columns)
        a, b = np.divmod(np.flatnonzero(bits <= distance), bits.shape[1])
        a, b = a + row, b + column
        a, b = a[b > a], b[b > a]
        distances = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1, dtype=np.int64)
        close = distances <= distance
        return np.column_stack([a[close], b[close], distances[close]])

    found, total = [np.empty((0, 3), np.int64)], 0
    rows = range(0, len(hashes), _ROWS)
    for row in track(rows, "comparing", len(rows)):
        if total > MAX_PAIRS:
            continue  # completes the progress bar
        for column in range(row - row % _COLUMNS, len(hashes), _COLUMNS):
            found.append(find_in_tile(row, column))
            total += len(found[-1])
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))][:MAX_PAIRS]
    return NearPairs(pairs[:, :2], pairs[:, 2], total <= MAX_PAIRS)


def find_similar(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64], distance: int, track: Track = silent
) -> NDArray[np.int64]:
    """Finds for each hash another one that differs in at most ``distance`` bits.

    Args:
        hashes: uint64 [n, words].
        others: uint64 [m, words].
        distance: Maximum Hamming distance in bits.
        track: Progress display.

    Returns:
        int64 [n], an index into ``others``, the lowest of several; -1 where there is none.
    """
    found = np.full(len(hashes), -1)
    first_words, other_words = (np.ascontiguousarray(h[:, 0]) for h in (hashes, others))
    rows = range(0, len(hashes), _ROWS)
    for row in track(rows, "comparing", len(rows)):
        for column in reversed(range(0, len(others), _COLUMNS)):
            tile = first_words[row : row + _ROWS, None] ^ other_words[column : column + _COLUMNS]
            a, b = np.nonzero(np.bitwise_count(tile) <= distance)
            a, b = a[::-1] + row, b[::-1] + column
            close = np.bitwise_count(hashes[a] ^ others[b]).sum(axis=1) <= distance
            found[a[close]] = b[close]  # the last assignment, of the lowest index, remains
    return found

"""Which photograph goes to which split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.sources.photos import SPLITS, Source, SplitName
from pipeline.errors import DataError
from pipeline.params import Prepare


def split_photos(source: Source, prepare: Prepare) -> dict[SplitName, list[int]]:
    """Splits a source's photographs.

    ``blocks`` keeps runs of ``prepare.block`` neighbours in one split, because neighbours are
    often cells of one module or shots of one object and would leak; ``random`` does not.
    ``published`` takes the source's own splits and carves validation from train if it has none.

    Returns:
        Indices into ``source.photos`` per split, rising.

    Raises:
        DataError: A class would be missing from a split, or there are no published splits.
    """
    labels = np.array([photo.label for photo in source.photos])
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
            parts = _stratify(labels[pool], [keep, carve], prepare.block, prepare.seed)
            chosen["train"], chosen["val"] = (pool[part].tolist() for part in parts)
    else:
        run_length = prepare.block if prepare.split == "blocks" else 1
        parts = _stratify(labels, fractions, run_length, prepare.seed)
        chosen = {name: part.tolist() for name, part in zip(SPLITS, parts, strict=True)}
    _refuse_missing_classes(source, labels, chosen, prepare, as_published)
    return chosen


def _stratify(
    labels: np.ndarray, shares: Sequence[float], run_length: int, seed: int
) -> list[np.ndarray]:
    """Deals runs of neighbours to parts so that every class comes near its share in every part.

    First greedily, runs heavy in a class first; then single runs move for as long as a move helps.
    What is kept small is the summed squared deviation from the wanted counts, of each class and of
    all images, relative to them.
    """
    counts_all = np.bincount(labels)
    present = np.flatnonzero(counts_all)
    column = np.zeros(len(counts_all), dtype=int)
    column[present] = np.arange(len(present))
    blocks = np.arange(len(labels)) // run_length
    counts = np.zeros((blocks[-1] + 1, len(present)))
    np.add.at(counts, (blocks, column[labels]), 1)
    # The last column, a run's share of all images, settles what the classes leave open.
    weights = np.column_stack([counts / counts_all[present], counts.sum(axis=1) / len(labels)])
    gap = np.outer(shares, np.ones(weights.shape[1])) / sum(shares)

    def growth(weight: np.ndarray) -> np.ndarray:
        """Growth of the deviation if a run of this weight came to each part."""
        return np.asarray(((weight - 2 * gap) * weight).sum(axis=1))

    part_of_block = np.zeros(len(weights), dtype=int)
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
            # Rounding must not move a run to and fro for ever.
            if change[new] > change[old] - 1e-12:
                new = old
            gap[new] -= weight
            part_of_block[block] = new
            moved |= bool(new != old)
    part_of_image = part_of_block[blocks]
    return [np.flatnonzero(part_of_image == part) for part in range(len(shares))]


def _refuse_missing_classes(
    source: Source,
    labels: np.ndarray,
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
            elif dealt_by_block:
                remedy = "lower prepare.block, or set prepare.split to random"
            else:
                remedy = "add images of it, or change prepare.fractions"
            raise DataError(
                f"class {source.classes[label]!r}", f"is missing from split {name!r}", remedy
            )

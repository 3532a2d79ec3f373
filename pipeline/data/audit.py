"""What is wrong, or odd, with a set of photographs, before any model learns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.decoded import Decoded
from pipeline.data.decoding_checks import FLAT, HASH_SIDE
from pipeline.data.duplicates import NearPairs, near, same, same_by_either
from pipeline.data.sources.photos import SPLITS, Photo, Source, SplitName
from pipeline.data.split import parted_groups
from pipeline.errors import DataError
from pipeline.progress import Track, silent

FORMAT = 1

ELONGATED = 3.0
"""Longer side over shorter: cut to its middle, such a photograph loses two thirds."""

_NAMED = 3  # in an error; the report has them all


@dataclass(frozen=True)
class Copies:
    """Photographs of one image.

    Attributes:
        places: Into the usable photographs, rising.
        by: ``file`` when all files are the same bytes; ``pixels`` when some are only the same
            pixels, once packed.
    """

    places: tuple[int, ...]
    by: str


@dataclass(frozen=True)
class Audit:
    """What was found; ``report`` makes it a JSON value.

    Attributes:
        source: Where the photographs come from.
        decoded: All of them, bad ones too.
        usable: Those that can be used; all places below are into these.
        copies: Exact duplicates.
        near: Near-duplicates, exact ones left out.
        near_distance: Within which they were looked for, in bits; 0 when they were not.
        flat: Places of images that show nothing.
        splits: The split of each usable photograph, or None before they are split.
    """

    source: Source
    decoded: Decoded
    usable: Decoded
    copies: tuple[Copies, ...]
    near: NearPairs
    near_distance: int
    flat: tuple[int, ...]
    splits: tuple[SplitName | None, ...] | None = None

    def with_splits(self, splits: Mapping[SplitName, Sequence[int]]) -> Audit:
        """The same findings, now that each usable photograph has its split."""
        of: list[SplitName | None] = [None] * len(self.usable)
        for name, places in splits.items():
            for place in places:
                of[place] = name
        return replace(self, splits=tuple(of))

    def bad(self) -> list[tuple[Photo, str]]:
        """The photographs that cannot be used, each with what is wrong."""
        both = zip(self.decoded.photos, self.decoded.problems, strict=True)
        return [(photo, problem) for photo, problem in both if problem]

    def split_of(self, place: int) -> SplitName | None:
        """The split of a usable photograph, None when there is none yet."""
        return self.splits[place] if self.splits else None

    def across_splits(self, places: Sequence[int]) -> bool:
        """Whether photographs lie in more than one split."""
        return len({self.split_of(place) for place in places} - {None}) > 1

    def across_labels(self, places: Sequence[int]) -> bool:
        """Whether photographs have more than one label."""
        return len({self.usable.photos[place].label for place in places}) > 1

    def as_published(self, places: Sequence[int]) -> bool:
        """Whether all of these lie in the splits that their source gave them."""
        return all(self.usable.photos[place].split == self.split_of(place) for place in places)


def examine(
    source: Source, decoded: Decoded, *, near_distance: int, track: Track = silent
) -> Audit:
    """Looks for duplicates and oddities.

    Args:
        source: The photographs' classes and origin.
        decoded: All its photographs.
        near_distance: Bits in which the perceptual hashes of near-duplicates may differ; 0 does
            not look for them.
        track: Shows progress.
    """
    usable = decoded.usable()
    files, pixels = same(usable.file_hashes), same(usable.pixel_hashes)
    copies = tuple(
        Copies(tuple(group.tolist()), "file" if len(set(files[group].tolist())) == 1 else "pixels")
        for group in same_by_either(files, pixels)
    )
    flat = np.flatnonzero(usable.contrasts < FLAT)
    # One of each group of copies stands for it; the hash of an image that shows nothing is noise.
    again = [place for group in copies for place in group.places[1:]]
    apart = np.setdiff1d(np.arange(len(usable)), np.union1d(flat, again)).astype(np.int64)
    found = near(
        usable.look_hashes[apart] if near_distance else _none(usable), near_distance, track
    )
    return Audit(
        source=source,
        decoded=decoded,
        usable=usable,
        copies=copies,
        near=NearPairs(apart[found.pairs], found.distances, found.complete),
        near_distance=near_distance,
        flat=tuple(flat.tolist()),
    )


def refuse_bad(audit: Audit, *, skip: bool) -> None:
    """Stops at photographs that cannot be used.

    Args:
        audit: What was found.
        skip: Go on without them, as long as every class has some left.

    Raises:
        DataError: There are bad photographs, or with ``skip`` a class of nothing else.
    """
    bad = audit.bad()
    if bad and not skip:
        raise DataError(
            f"{len(bad)} of {len(audit.decoded)} photographs",
            f"cannot be used: {_some([f'{photo.name} ({problem})' for photo, problem in bad])}",
            "all are listed in reports/audit.json; mend or remove them, or set prepare.on_bad: "
            "skip",
        )
    left = _per_class(audit, audit.usable.photos)
    for name, count, before in zip(
        audit.source.classes, left, _per_class(audit, audit.decoded.photos), strict=True
    ):
        if before and not count:
            raise DataError(
                f"class {name!r}",
                f"has no photograph that can be used, its {before} are bad",
                "reports/audit.json says why; mend some, or remove the class",
            )


def refuse_leaks(audit: Audit, *, allow: bool) -> None:
    """Stops at exact duplicates of which one would be learned and another one judged.

    Splits as their source published them are left as they are, for figures on them to be those
    that others give; the report still lists what leaks.

    Raises:
        DataError: There are some, and ``allow`` is false.
    """
    leaks = [
        group
        for group in audit.copies
        if audit.across_splits(group.places) and not audit.as_published(group.places)
    ]
    if leaks and not allow:
        named = [
            " = ".join(
                f"{audit.usable.photos[place].name} ({audit.split_of(place)})"
                for place in group.places[:_NAMED]
            )
            for group in leaks
        ]
        raise DataError(
            f"{len(leaks)} photographs",
            f"lie in more than one split: {_some(named)}",
            "all are listed in reports/audit.json; remove the copies, give them a group "
            "(prepare.group_by), or set prepare.allow_leakage: true",
        )


def count_findings(audit: Audit) -> dict[str, Any]:
    """The figures of an audit, without names."""
    pairs = [(int(a), int(b)) for a, b in audit.near.pairs]
    groups = [group.places for group in audit.copies]
    return {
        "photographs": len(audit.decoded),
        "bad": len(audit.decoded) - len(audit.usable),
        "exact_duplicates": _count(audit, groups),
        "near_duplicates": _count(audit, pairs) if audit.near_distance else None,
        "flat": len(audit.flat),
        "small": len(_small(audit)),
        "elongated": len(_elongated(audit)),
        "imbalance": _imbalance(audit),
        "parted_groups": len(_parted_groups(audit)),
    }


def report(audit: Audit) -> dict[str, Any]:
    """All that was found, as a JSON value; the same photographs give the same one."""
    return {
        "format": FORMAT,
        "source": audit.source.name,
        "image_size": audit.usable.image_size,
        "fit": audit.usable.fit,
        "counts": count_findings(audit),
        "classes": _classes(audit),
        "bad": [
            {"name": photo.name, "class": audit.source.classes[photo.label], "problem": problem}
            for photo, problem in audit.bad()
        ],
        "exact_duplicates": [
            {
                "by": group.by,
                "across_splits": audit.across_splits(group.places),
                "across_labels": audit.across_labels(group.places),
                "as_published": audit.as_published(group.places),
                "photographs": [_describe(audit, place) for place in group.places],
            }
            for group in audit.copies
        ],
        "near_duplicates": {
            "bits": HASH_SIDE**2,
            "distance": audit.near_distance,
            "complete": audit.near.complete,
            "pairs": [
                {
                    "distance": int(distance),
                    "across_splits": audit.across_splits(pair),
                    "across_labels": audit.across_labels(pair),
                    "photographs": [_describe(audit, place) for place in pair],
                }
                for pair, distance in zip(
                    audit.near.pairs.tolist(), audit.near.distances, strict=True
                )
            ],
        },
        "parted_groups": [
            {"group": group, "splits": list(splits)}
            for group, splits in _parted_groups(audit).items()
        ],
        "flat": [_describe(audit, place) for place in audit.flat],
        "small": [_describe(audit, place, size=True) for place in _small(audit)],
        "elongated": [_describe(audit, place, size=True) for place in _elongated(audit)],
    }


def _none(decoded: Decoded) -> NDArray[np.uint64]:
    return decoded.look_hashes[:0]


def _some(texts: Sequence[str]) -> str:
    rest = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _describe(audit: Audit, place: int, *, size: bool = False) -> dict[str, Any]:
    photo = audit.usable.photos[place]
    about: dict[str, Any] = {
        "name": photo.name,
        "class": audit.source.classes[photo.label],
        "split": audit.split_of(place),
    }
    if size:
        width, height = audit.usable.sizes[place]
        about |= {"width": int(width), "height": int(height)}
    return about


def _count(audit: Audit, groups: Sequence[Sequence[int]]) -> dict[str, int]:
    return {
        "found": len(groups),
        "across_splits": sum(audit.across_splits(places) for places in groups),
        "across_labels": sum(audit.across_labels(places) for places in groups),
    }


def _parted_groups(audit: Audit) -> dict[str, tuple[SplitName, ...]]:
    if audit.splits is None:
        return {}
    places = {n: [i for i, split in enumerate(audit.splits) if split == n] for n in SPLITS}
    return parted_groups(replace(audit.source, photos=audit.usable.photos), places)


def _small(audit: Audit) -> list[int]:
    """Of fewer pixels than the packed image, so that it is blown up."""
    small = audit.usable.sizes.min(axis=1, initial=1 << 30) < audit.usable.image_size
    return [int(place) for place in np.flatnonzero(small)]


def _elongated(audit: Audit) -> list[int]:
    sizes = audit.usable.sizes
    long = sizes.max(axis=1, initial=0) > ELONGATED * sizes.min(axis=1, initial=1 << 30)
    return [int(place) for place in np.flatnonzero(long)]


def _per_class(audit: Audit, photos: Sequence[Photo]) -> list[int]:
    labels = np.array([photo.label for photo in photos], dtype=np.int64)
    counts: list[int] = np.bincount(labels, minlength=len(audit.source.classes)).tolist()
    return counts


def _imbalance(audit: Audit) -> float | None:
    """Images of the largest class per image of the smallest; None when that one is empty."""
    counts = _per_class(audit, audit.usable.photos)
    return round(max(counts) / min(counts), 3) if min(counts) else None


def _classes(audit: Audit) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    bad = _per_class(audit, [photo for photo, _ in audit.bad()])
    usable = _per_class(audit, audit.usable.photos)
    by_split: Mapping[SplitName, list[int]] = {}
    if audit.splits:
        split_photos = list(zip(audit.usable.photos, audit.splits, strict=True))
        by_split = {
            name: _per_class(audit, [photo for photo, split in split_photos if split == name])
            for name in SPLITS
        }
    for label, name in enumerate(audit.source.classes):
        row = {"name": name, "usable": usable[label], "bad": bad[label]}
        rows.append(row | {split: counts[label] for split, counts in by_split.items()})
    return rows

"""Audit of a data set before training: unusable images, duplicates, leakage and imbalance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from finch_runtime.image_size import height_and_width
from numpy.typing import NDArray

from pipeline.data.decoding import DecodedImages
from pipeline.data.decoding_checks import DARK, HASH_SIDE, MIN_CONTRAST
from pipeline.data.duplicates import NearPairs, find_near, group_equal
from pipeline.data.sessions import Sessions, SharedSessions, find_sessions, find_shared
from pipeline.data.sources.base import ImageDataset, PassedOver, Sample, SplitName
from pipeline.data.sources.passed_over import count_by_suffix
from pipeline.data.split import groups_across_splits
from pipeline.errors import DataError
from pipeline.progress import Track, silent

FORMAT = 1

ELONGATED = 3.0
"""Images above this aspect ratio are reported; a center crop removes over two thirds of one."""

_MAX_NAMED = 3  # images in an error message; the report lists all of them


@dataclass(frozen=True)
class Audit:
    """Findings of an audit; ``report`` converts them to JSON.

    Attributes:
        dataset: The audited data set.
        decoded: All images of the data set.
        usable: The usable images. All indices refer to them.
        copies: Groups of exact duplicates, as indices.
        near: Pairs of near-duplicates, without exact duplicates.
        near_distance: Maximum Hamming distance of the search in bits; 0 if it was disabled.
        blank: Indices of images without contrast.
        splits: Indices of the images of every split; empty before splitting.
    """

    dataset: ImageDataset
    decoded: DecodedImages
    usable: DecodedImages
    copies: list[list[int]]
    near: NearPairs
    near_distance: int
    blank: list[int]
    splits: Mapping[SplitName, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def bad(self) -> list[tuple[Sample, str]]:
        """Unusable images, each with its problem."""
        both = zip(self.decoded.samples, self.decoded.problems, strict=True)
        return [(sample, problem) for sample, problem in both if problem]

    @property
    def copy_pairs(self) -> NDArray[np.int64]:
        """Every exact duplicate with the first image of its group, int64 [k, 2]."""
        pairs = [(group[0], other) for group in self.copies for other in group[1:]]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @property
    def in_pairs(self) -> list[int]:
        """Indices of images that have a near-duplicate."""
        indices: list[int] = np.unique(self.near.pairs).tolist()
        return indices

    @property
    def small(self) -> list[int]:
        """Indices of images with a side shorter than the input's; decoding enlarges them.

        The shorter side is compared with the shorter one: records are without EXIF rotation.
        """
        sides = np.sort(self.usable.records["size"], axis=1)
        is_small = sides < np.sort(height_and_width(self.usable.image_size))
        return np.flatnonzero(is_small.any(axis=1)).tolist()

    @property
    def elongated(self) -> list[int]:
        """Indices of images whose aspect ratio is not within ``ELONGATED`` of the input's."""
        sides = np.sort(self.usable.records["size"], axis=1)
        low, high = np.sort(height_and_width(self.usable.image_size))
        ratios = (sides[:, 1] / sides[:, 0]) / (high / low)
        return np.flatnonzero((ratios > ELONGATED) | (ratios < 1 / ELONGATED)).tolist()

    @property
    def dark(self) -> list[int]:
        """Indices of images that are nearly black."""
        return np.flatnonzero(self.usable.records["brightness"] < DARK).tolist()

    @property
    def other_format(self) -> list[int]:
        """Indices of images whose content has another format than their suffix says."""
        return [index for index, remark in enumerate(self.usable.remarks) if remark]

    @property
    def unread(self) -> list[PassedOver]:
        """Images that the source passed over."""
        return [file for file in self.dataset.passed_over if file.is_image]

    @property
    def groups_across_splits(self) -> dict[str, list[SplitName]]:
        """Groups in more than one split; this can happen only with published splits."""
        return groups_across_splits(self.usable.samples, self.splits)

    @cached_property
    def sessions(self) -> Sessions | None:
        """Sessions of the usable images; None if the files do not tell them."""
        usable = replace(self.dataset, samples=self.usable.samples)
        records = self.usable.records
        return find_sessions(usable, records["capture_time"], records["camera"])

    @cached_property
    def shared_sessions(self) -> dict[SplitName, SharedSessions]:
        """Images of validation and test whose sessions have training images; empty if unknown."""
        if self.sessions is None or not self.splits:
            return {}
        hashes = self.usable.records["perceptual_hash"]
        return find_shared(self.sessions, self.labels, hashes, self.splits)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices of the usable images, int64 [images]."""
        return np.array([sample.label for sample in self.usable.samples], dtype=np.int64)

    @cached_property
    def _split_of(self) -> dict[int, SplitName]:
        return {index: name for name, indices in self.splits.items() for index in indices}

    def split_of(self, index: int) -> SplitName | None:
        """Split of a usable image; None before splitting."""
        return self._split_of.get(index)

    def across_splits(self, indices: Sequence[int]) -> bool:
        """Whether images lie in more than one split."""
        return len({self.split_of(index) for index in indices} - {None}) > 1

    def across_labels(self, indices: Sequence[int]) -> bool:
        """Whether images have more than one label."""
        return len({self.usable.samples[index].label for index in indices}) > 1

    def as_published(self, indices: Sequence[int]) -> bool:
        """Whether all images are in splits that results of others refer to."""
        return self.dataset.comparable_splits and all(
            self.usable.samples[index].split == self.split_of(index) for index in indices
        )


def examine(
    dataset: ImageDataset, decoded: DecodedImages, *, near_distance: int, track: Track = silent
) -> Audit:
    """Searches for duplicates and blank images.

    ``near_distance`` is the maximum Hamming distance of near-duplicates in bits; 0 disables the
    search for them.
    """
    usable = decoded.usable()
    # Files with equal bytes also have equal pixels.
    copies = group_equal(usable.records["pixel_hash"])
    blank = np.flatnonzero(usable.records["contrast"] < MIN_CONTRAST).tolist()
    # One image per group of copies is compared; the hash of a blank image is noise.
    excluded = {*blank, *(index for group in copies for index in group[1:])}
    indices = range(len(usable)) if near_distance else ()
    compared = np.array([index for index in indices if index not in excluded], dtype=np.int64)
    found = find_near(usable.records["perceptual_hash"][compared], near_distance, track)
    near = replace(found, pairs=compared[found.pairs])
    return Audit(dataset, decoded, usable, copies, near, near_distance, blank)


def check_bad(audit: Audit, *, skip: bool) -> None:
    """Checks that all images are usable, or with ``skip``, that every class has usable images.

    Raises:
        DataError: An image cannot be used, or a class has no usable images.
    """
    if audit.bad and not skip:
        named = _name_some([f"{sample.name} ({problem})" for sample, problem in audit.bad])
        remedy = "see reports/audit.json; fix or remove them, or set prepare.on_bad: skip"
        counts = f"{len(audit.bad)} of {len(audit.decoded)} images"
        raise DataError(counts, f"cannot be used: {named}", remedy)
    for row in _describe_classes(audit):
        if row["bad"] and not row["usable"]:
            problem = f"has no usable image, all {row['bad']} are bad"
            remedy = "see reports/audit.json; fix some, or remove the class"
            raise DataError(f"class {row['name']!r}", problem, remedy)


def check_leakage(audit: Audit, *, allow: bool) -> None:
    """Checks that no exact duplicates lie in different splits.

    Those of published data sets are accepted, so that results on them are comparable with the
    literature; the report lists their duplicates.

    Raises:
        DataError: There are such duplicates, and ``allow`` is false.
    """
    leaks = [
        " = ".join(
            f"{audit.usable.samples[index].name} ({audit.split_of(index)})"
            for index in group[:_MAX_NAMED]
        )
        for group in audit.copies
        if audit.across_splits(group) and not audit.as_published(group)
    ]
    if leaks and not allow:
        raise DataError(
            f"{len(leaks)} images",
            f"have copies in more than one split: {_name_some(leaks)}",
            "see reports/audit.json; remove the copies, set prepare.group_by, or set "
            "prepare.allow_leakage: true",
        )


def count_findings(audit: Audit) -> dict[str, Any]:
    """Counts of all findings, as stored in ``dataset.json``."""

    def count(groups: Sequence[Sequence[int]]) -> dict[str, int]:
        return {
            "found": len(groups),
            "across_splits": sum(map(audit.across_splits, groups)),
            "across_labels": sum(map(audit.across_labels, groups)),
        }

    per_class = _count_classes(audit, audit.usable.samples)
    return {
        "photographs": len(audit.decoded),
        "bad": len(audit.bad),
        "unread": len(audit.unread),
        "other_files": len(audit.dataset.passed_over) - len(audit.unread),
        "other_format": len(audit.other_format),
        "exact_duplicates": count(audit.copies),
        "near_duplicates": count(audit.near.pairs.tolist()) if audit.near_distance else None,
        "flat": len(audit.blank),
        "dark": len(audit.dark),
        "small": len(audit.small),
        "elongated": len(audit.elongated),
        "imbalance": round(max(per_class) / min(per_class), 3) if min(per_class) else None,
        "parted_groups": len(audit.groups_across_splits),
        # Absent if unknown, so that `dataset.json` does not change for data without sessions.
        **({"sessions": _count_sessions(audit, audit.sessions)} if audit.sessions else {}),
    }


def _count_sessions(audit: Audit, sessions: Sessions) -> dict[str, Any]:
    """Numbers alone: a capture time or a serial number can identify a person."""
    labels, classes = audit.labels, len(audit.dataset.classes)
    per_class = sessions.per_class(labels, classes)
    days = sessions.days_per_class(labels, classes)
    return {
        "told_by": sessions.told_by,
        "found": int(sessions.of_image.max()) + 1,
        "unknown": int((sessions.of_image < 0).sum()),
        "per_class": {"fewest": min(per_class), "most": max(per_class)},
        "days": len(set(sessions.day_of_image.tolist()) - {-1}),
        "days_per_class": {"fewest": min(days), "most": max(days)},
        "shared": {
            split: {
                "images": found.images,
                "shared": found.shared,
                "nearest": round(found.nearest, 3),
                "by_chance": round(found.by_chance, 3),
            }
            for split, found in audit.shared_sessions.items()
        },
    }


def report(audit: Audit) -> dict[str, Any]:
    """All findings as a JSON value."""

    def describe(index: int, *, size: bool = False) -> dict[str, Any]:
        sample = audit.usable.samples[index]
        width, height = audit.usable.records["size"][index].tolist()
        return {
            "name": sample.name,
            "class": audit.dataset.classes[sample.label],
            "split": audit.split_of(index),
            **({"width": width, "height": height} if size else {}),
        }

    def by(indices: Sequence[int]) -> str:
        files = audit.usable.records["file_hash"][indices]
        return "file" if (files == files[0]).all() else "pixels"

    def describe_group(indices: Sequence[int]) -> dict[str, Any]:
        return {
            "across_splits": audit.across_splits(indices),
            "across_labels": audit.across_labels(indices),
            "photographs": [describe(index) for index in indices],
        }

    near = zip(audit.near.pairs.tolist(), audit.near.distances.tolist(), strict=True)
    return {
        "format": FORMAT,
        "source": audit.dataset.name,
        "image_size": audit.usable.image_size,
        "fit": audit.usable.fit,
        "counts": count_findings(audit),
        "classes": _describe_classes(audit),
        "remarks": list(audit.dataset.remarks),
        "passed_over": [asdict(kind) for kind in count_by_suffix(audit.dataset.passed_over)],
        "unread": [
            {
                "name": file.name,
                "class": None if file.label is None else audit.dataset.classes[file.label],
            }
            for file in audit.unread
        ],
        "bad": [
            {"name": sample.name, "class": audit.dataset.classes[sample.label], "problem": problem}
            for sample, problem in audit.bad
        ],
        "other_format": [
            {**describe(index), "problem": audit.usable.remarks[index]}
            for index in audit.other_format
        ],
        "exact_duplicates": [
            {"by": by(group), "as_published": audit.as_published(group), **describe_group(group)}
            for group in audit.copies
        ],
        "near_duplicates": {
            "bits": HASH_SIDE**2,
            "distance": audit.near_distance,
            "complete": audit.near.complete,
            "pairs": [{"distance": distance, **describe_group(pair)} for pair, distance in near],
        },
        "parted_groups": [
            {"group": group, "splits": splits}
            for group, splits in audit.groups_across_splits.items()
        ],
        "flat": [describe(index) for index in audit.blank],
        "dark": [describe(index) for index in audit.dark],
        "small": [describe(index, size=True) for index in audit.small],
        "elongated": [describe(index, size=True) for index in audit.elongated],
    }


def _name_some(texts: Sequence[str]) -> str:
    more = len(texts) - _MAX_NAMED
    return "; ".join(texts[:_MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _count_classes(audit: Audit, files: Sequence[Sample | PassedOver]) -> list[int]:
    labels = np.array([file.label for file in files if file.label is not None], dtype=np.int64)
    counts: list[int] = np.bincount(labels, minlength=len(audit.dataset.classes)).tolist()
    return counts


def _describe_classes(audit: Audit) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {
        "name": list(audit.dataset.classes),
        "usable": _count_classes(audit, audit.usable.samples),
        "bad": _count_classes(audit, [sample for sample, _ in audit.bad]),
        "unread": _count_classes(audit, audit.unread),
        "near_duplicates": _count_classes(audit, [audit.usable.samples[i] for i in audit.in_pairs]),
    }
    if audit.sessions:
        columns["sessions"] = audit.sessions.per_class(audit.labels, len(audit.dataset.classes))
    for name, indices in audit.splits.items():
        columns[name] = _count_classes(audit, [audit.usable.samples[index] for index in indices])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

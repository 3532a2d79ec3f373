"""Audit of the images without labels against those with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.audit import Audit
from pipeline.data.decoding import DecodedImages
from pipeline.data.decoding_checks import MIN_CONTRAST
from pipeline.data.duplicates import find_similar
from pipeline.data.sources.base import Sample
from pipeline.errors import DataError
from pipeline.progress import Track, silent

_MAX_NAMED = 3  # images in an error message; reports/audit.json lists all of them


@dataclass(frozen=True)
class UnlabelledAudit:
    """Findings about the images without labels.

    Attributes:
        images: Number of images.
        bad: Unusable images, each with its problem.
        copies: Images that are copies of a training image, or of another image without a label.
        leaks: Images that are copies or near-duplicates of a validation or test image: name, name
            of that image, and its split.
        kept: The other images.
    """

    images: int
    bad: list[tuple[Sample, str]]
    copies: list[str]
    leaks: list[tuple[str, str, str]]
    kept: DecodedImages

    def describe(self) -> str:
        """One line with all counts."""
        counts = {
            "unusable": len(self.bad),
            "copies of training images or of one another": len(self.copies),
            "that show validation or test images": len(self.leaks),
        }
        left_out = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        found = f"{len(self.kept)} of {self.images} images without labels are used"
        return found + (f"; left out: {left_out}" if left_out else "")

    def report(self) -> dict[str, Any]:
        """All findings as a JSON value."""
        return {
            "images": self.images,
            "kept": len(self.kept),
            "bad": [{"name": sample.name, "problem": problem} for sample, problem in self.bad],
            "copies": self.copies,
            "in_evaluation": [
                {"name": name, "same_as": other, "split": split}
                for name, other, split in self.leaks
            ],
        }


def audit_unlabelled(
    decoded: DecodedImages, audit: Audit, *, track: Track = silent
) -> UnlabelledAudit:
    """Compares images without labels with the images of all splits.

    Args:
        decoded: The images without labels.
        audit: Audit of the images with labels, with their splits.
        track: Progress display.
    """
    bad = zip(decoded.samples, decoded.problems, strict=True)
    usable, known = decoded.usable(), audit.usable
    evaluated = [*audit.splits["val"], *audit.splits["test"]]
    evaluation = known.select(evaluated)
    same = _find_copies(usable, evaluation)
    if audit.near_distance:
        # The hash of an image without contrast is noise.
        clear = np.flatnonzero(usable.records["contrast"] >= MIN_CONTRAST)
        others = np.flatnonzero(evaluation.records["contrast"] >= MIN_CONTRAST)
        similar = find_similar(
            usable.records["perceptual_hash"][clear],
            evaluation.records["perceptual_hash"][others],
            audit.near_distance,
            track,
        )
        near = dict(zip(clear[similar >= 0].tolist(), others[similar[similar >= 0]], strict=True))
        same = {**near, **same}
    leaks = [
        (usable.samples[i].name, evaluation.samples[j].name, str(audit.split_of(evaluated[j])))
        for i, j in sorted(same.items())
    ]
    seen = {digest.tobytes() for digest in known.records["pixel_hash"]}
    copies, kept = [], []
    for index, digest in enumerate(usable.records["pixel_hash"]):
        if index in same:
            continue
        if digest.tobytes() in seen:
            copies.append(usable.samples[index].name)
        else:
            kept.append(index)
            seen.add(digest.tobytes())
    return UnlabelledAudit(
        len(decoded),
        [(sample, problem) for sample, problem in bad if problem],
        copies,
        leaks,
        usable.select(kept),
    )


def _find_copies(images: DecodedImages, others: DecodedImages) -> dict[int, int]:
    """The index of an equal image among the others, for each image that has one."""
    index_of = {digest.tobytes(): i for i, digest in enumerate(others.records["pixel_hash"])}
    digests = (digest.tobytes() for digest in images.records["pixel_hash"])
    return {i: index_of[digest] for i, digest in enumerate(digests) if digest in index_of}


def check_unlabelled(audit: UnlabelledAudit, *, skip: bool) -> None:
    """Checks that the images are usable, and that none shows a validation or test image.

    Args:
        audit: The findings.
        skip: Whether images with a problem are left out instead.

    Raises:
        DataError: There are such images and ``skip`` is false, or no image is left.
    """
    where = "images of prepare.unlabelled"
    if audit.bad and not skip:
        named = _name_some([f"{sample.name} ({problem})" for sample, problem in audit.bad])
        raise DataError(
            f"{len(audit.bad)} of {audit.images} {where}",
            f"cannot be used: {named}",
            "see reports/audit.json; fix or remove them, or set prepare.on_bad: skip",
        )
    if audit.leaks and not skip:
        named = _name_some([f"{name} = {other} ({split})" for name, other, split in audit.leaks])
        raise DataError(
            f"{len(audit.leaks)} of {audit.images} {where}",
            f"show what a validation or test image shows: {named}",
            "see reports/audit.json; remove them, or set prepare.on_bad: skip to leave them out",
        )
    if not len(audit.kept):
        raise DataError(
            f"all {audit.images} {where}",
            "are unusable, or copies of images with labels",
            "add others, or set prepare.unlabelled to null",
        )


def _name_some(texts: Sequence[str]) -> str:
    more = len(texts) - _MAX_NAMED
    return "; ".join(texts[:_MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")

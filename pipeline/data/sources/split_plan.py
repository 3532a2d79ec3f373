"""How the images of a source are assigned to splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pipeline.data.sources.base import SPLITS, ImageDataset, SplitName
from pipeline.data.sources.quoting import quoted
from pipeline.errors import DataError

SplitMethod = Literal["published", "blocks", "random"]


@dataclass(frozen=True)
class SplitPlan:
    """How the images of a source are assigned to splits.

    Attributes:
        method: ``published``: the splits of the source; ``blocks`` and ``random``: all splits are
            made from all images.
        own: Number of images in each split of the source; of those without a split under None.
    """

    method: SplitMethod
    own: dict[SplitName | None, int]

    @property
    def carved(self) -> tuple[SplitName, ...]:
        """The splits that are taken from the training split of the source."""
        missing = tuple(split for split in SPLITS if split not in self.own)
        return missing if self.method == "published" else ()

    @property
    def pooled(self) -> tuple[SplitName, ...]:
        """The splits of the source that are not used."""
        used = self.method == "published"
        return () if used else tuple(split for split in SPLITS if split in self.own)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the person may not expect, one sentence each."""
        found = _describe(self.own)
        if self.pooled:
            return (
                f"the source's own splits (images: {found}) are pooled and split anew, because "
                f"prepare.split is {self.method}; set it to published to use them",
            )
        remarks = []
        if self.carved:
            carved = " and ".join(self.carved)
            remarks.append(
                f"the source has no split for {carved}: taken from its training split, by "
                f"blocks (images: {found})"
            )
        if self.method == "published" and None in self.own:
            remarks.append(f"images in no split of the source, and not used: {self.own[None]}")
        return tuple(remarks)


def plan_splits(
    dataset: ImageDataset, split: Literal["auto", "published", "blocks", "random"]
) -> SplitPlan:
    """Decides how images are assigned to splits.

    Args:
        dataset: The images, with the splits of the source.
        split: ``prepare.split``. ``auto`` is ``published`` if the source has splits, else
            ``blocks``.

    Raises:
        DataError: The splits of the source are to be used, and it has none or none for training.
    """
    counts = Counter(sample.split for sample in dataset.samples)
    own = {name: counts[name] for name in (*SPLITS, None) if counts[name]}
    has_splits = any(own.keys() - {None})
    if split in ("blocks", "random") or (split == "auto" and not has_splits):
        return SplitPlan("random" if split == "random" else "blocks", own)
    if "train" not in own:
        where = f"source {dataset.name!r}"
        if not has_splits:
            remedy = "set prepare.split to auto, which makes splits if there are none"
            raise DataError(where, "has no splits of its own", remedy)
        remedy = (
            "correct the name of its training split; prepare.split: blocks would pool all images"
        )
        raise DataError(
            where, f"has splits, but none for training (images: {_describe(own)})", remedy
        )
    return SplitPlan("published", own)


def check_split_classes(dataset: ImageDataset, plan: SplitPlan) -> list[str]:
    """Checks that the training split of a source has every class, if its splits are used.

    Returns:
        A remark for each other split that lacks classes.

    Raises:
        DataError: The training split lacks a class, or another split has only one.
    """
    if plan.method != "published":
        return []
    count = Counter((sample.label, sample.split) for sample in dataset.samples)
    used = [split for split in SPLITS if split in plan.own]
    remarks = []
    for split in used:
        lacking = [label for label in range(len(dataset.classes)) if not count[label, split]]
        names = quoted((dataset.classes[label] for label in lacking), 3)
        if lacking and split == "train":
            there = _describe({other: count[lacking[0], other] for other in used})
            problem = f"no images of {names} (the first has {there}), but all classes need some"
            remedy = "add some, or remove the classes from the other splits"
            raise DataError("the training split of the source", f"has {problem}", remedy)
        if len(lacking) == len(dataset.classes) - 1:
            remedy = "add images of others, or remove the split so that it is taken from train"
            raise DataError(
                f"split {split!r} of the source", "has images of one class only", remedy
            )
        if lacking:
            remarks.append(
                f"classes without images in split {split}, whose recall is not measured there: "
                f"{len(lacking)} ({names})"
            )
    return remarks


def _describe(counts: dict[SplitName, int] | dict[SplitName | None, int]) -> str:
    """The splits that have images, each with their number."""
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if name and count)

"""What every source delivers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Photo:
    """One photograph on disk.

    Attributes:
        path: The image file.
        name: Its name within the source, with forward slashes: stable across machines.
        label: Index into the source's classes.
        split: The published split, or None where the source publishes none.
    """

    path: Path
    name: str
    label: int
    split: SplitName | None = None


@dataclass(frozen=True)
class Source:
    """A labelled set of photographs, in an order in which neighbours may be related."""

    name: str
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    licence: str
    origin: str

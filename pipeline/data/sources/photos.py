"""What every source delivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Attributes:
        path: The image file, or what stands for it where ``content`` is given.
        name: Its name within the source, with forward slashes: stable across machines.
        label: Index into the source's classes.
        split: The published split, or None where the source publishes none.
        group: Photographs of one group belong together and stay in one split.
        content: Makes the bytes of an image file, for a photograph that is none of its own: drawn,
            or a row of an array. Can be pickled, so that another process can call it.
    """

    path: Path
    name: str
    label: int
    split: SplitName | None = None
    group: str | None = None
    content: Callable[[], bytes] | None = None

    def read(self) -> bytes:
        """The encoded image."""
        return self.path.read_bytes() if self.content is None else self.content()


@dataclass(frozen=True)
class Source:
    """A labelled set of photographs, in an order in which neighbours may be related."""

    name: str
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    licence: str
    origin: str

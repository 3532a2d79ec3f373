"""Packed photographs: one memory-mapped uint8 file per split, and ``dataset.json`` beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.photos import SplitName
from pipeline.errors import ArtefactError
from pipeline.files import open_array, read_json

FORMAT = 1


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: uint8 [n, size, size, 3], RGB, memory-mapped.
        labels: int64 [n].
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, places: NDArray[np.int64]) -> Split:
        """The images at some places, int64 [m], copied into memory."""
        return Split(self.images[places], self.labels[places])


@dataclass(frozen=True)
class PreparedData:
    """A folder that ``pipeline.data.packing`` wrote."""

    folder: Path
    info: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return tuple(self.info["classes"])

    @property
    def image_size(self) -> int:
        """Side of the packed images in pixels."""
        return int(self.info["image_size"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 that changes with any pixel, label, class name or order."""
        return str(self.info["fingerprint"])

    def images_path(self, name: SplitName) -> Path:
        """The packed images of a split, as a file that a device runtime can read."""
        return self.folder / name / "images.npy"

    def split(self, name: SplitName) -> Split:
        """Opens a split; pixels stay on disk until they are used.

        Raises:
            ArtefactError: A file is missing, truncated, or does not fit ``dataset.json``.
        """
        images = open_array(self.images_path(name))
        labels = open_array(self.folder / name / "labels.npy")
        expected = int(self.info["splits"][name]["images"])
        shape = (expected, self.image_size, self.image_size, 3)
        if images.shape != shape or images.dtype != np.uint8:
            raise ArtefactError(
                self.images_path(name), f"is {images.dtype} {images.shape}, expected uint8 {shape}"
            )
        if labels.shape != (expected,):
            raise ArtefactError(
                self.folder / name / "labels.npy", f"has {labels.shape}, expected ({expected},)"
            )
        return Split(images, np.array(labels))


def open_prepared(folder: Path) -> PreparedData:
    """Opens a prepared folder.

    Raises:
        ArtefactError: ``dataset.json`` is missing or of another format.
    """
    info = read_json(folder / "dataset.json")
    if info.get("format") != FORMAT:
        raise ArtefactError(
            folder / "dataset.json", f"has format {info.get('format')!r}, this Finch reads {FORMAT}"
        )
    return PreparedData(folder, info)

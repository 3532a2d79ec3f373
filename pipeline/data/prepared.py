"""Packed images: one memory-mapped uint8 file per split, described by ``dataset.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.base import SplitName
from pipeline.errors import ArtifactError
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

    def select(self, indices: NDArray[np.int64]) -> Split:
        """Copies the images at ``indices``, int64 [m], into memory."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class PreparedData:
    """A folder written by ``pipeline.data.packing``."""

    folder: Path
    info: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return tuple(self.info["classes"])

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.info["image_size"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, labels, names, class names and their order."""
        return str(self.info["fingerprint"])

    def images_path(self, name: SplitName) -> Path:
        """The file with the images of a split, readable by the device runtime."""
        return self.folder / name / "images.npy"

    def split(self, name: SplitName) -> Split:
        """Opens a split without reading the pixels.

        Raises:
            ArtifactError: A file is missing, truncated, or inconsistent with ``dataset.json``.
        """
        labels_path = self.folder / name / "labels.npy"
        images, labels = open_array(self.images_path(name)), open_array(labels_path)
        expected = int(self.info["splits"][name]["images"])
        shape = (expected, self.image_size, self.image_size, 3)
        if images.shape != shape or images.dtype != np.uint8:
            problem = f"is {images.dtype} {images.shape}, expected uint8 {shape}"
            raise ArtifactError(self.images_path(name), problem)
        if labels.shape != (expected,):
            raise ArtifactError(labels_path, f"has shape {labels.shape}, expected ({expected},)")
        return Split(images, np.array(labels))


def open_prepared(folder: Path) -> PreparedData:
    """Opens a prepared folder.

    Raises:
        ArtifactError: ``dataset.json`` is missing or has another format.
    """
    path = folder / "dataset.json"
    info = read_json(path)
    if info.get("format") != FORMAT:
        problem = f"has format {info.get('format')!r}, expected {FORMAT}"
        raise ArtifactError(path, problem, "run `finch prepare`")
    return PreparedData(folder, info)

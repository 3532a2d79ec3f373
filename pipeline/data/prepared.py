"""Packed images: memory-mapped uint8 files per split, described by ``dataset.json``.

A split has one file per image size. ``images.npy`` has the largest, from which views are rendered;
``images_96.npy`` (of rectangles: ``images_96x144.npy``) has the same images in the same order with
a height of 96 pixels, each scaled from the original file as on a device.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from finch_runtime.image_size import ImageSize, as_text, height_and_width, in_pixels
from numpy.typing import NDArray
from pydantic import Field

from pipeline.aspect_ratio import size_of_height
from pipeline.data.sources.base import SplitName
from pipeline.errors import ArtifactError
from pipeline.files import hash_file, hash_value, open_array, parse_artifact, read_json

FORMAT = 2
UNLABELLED = Path("unlabelled/images.npy")
"""The file with the images without labels, in the prepared folder."""

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SplitInfo:
    """A split in ``dataset.json``.

    Attributes:
        images: Number of images.
        per_class: Number of images per class.
        files: SHA-256 of each file of the split.
    """

    images: Count
    per_class: list[Count]
    files: dict[str, str]


@dataclass(frozen=True)
class UnlabelledInfo:
    """The images without labels in ``dataset.json``.

    Attributes:
        images: Number of images.
        files: SHA-256 of each file.
    """

    images: Count
    files: dict[str, str]


@dataclass(frozen=True)
class DatasetInfo:
    """Content of ``dataset.json``.

    Attributes:
        format: Version of the layout.
        source: Name of the data source.
        origin: URL or other description of the images' source.
        license: License of the images.
        classes: Class names; a label is an index into them.
        image_size: Height of ``images.npy`` in pixels, the largest size.
        fit: How images got this shape, see ``finch_runtime.images.load_image``.
        splits: The splits, by name.
        fingerprint: SHA-256 of all other attributes but ``audit``, and so of pixels, labels,
            groups, names, class names and their order.
        audit: Counts of the audit.
        unlabelled: The images without labels; None, and absent from the file, if there are none.
        channels: 1 for gray images; 3, and absent from the file, for RGB.
        aspect_ratio: Width divided by height; 1, and absent from the file, for square images.
    """

    format: int
    source: str
    origin: str
    license: str
    classes: Annotated[list[str], Field(min_length=1)]
    image_size: Annotated[int, Field(ge=1)]
    fit: str
    splits: dict[SplitName, SplitInfo]
    fingerprint: str
    audit: dict[str, Any] = field(default_factory=dict)
    unlabelled: UnlabelledInfo | None = None
    channels: Literal[3, 1] = 3
    aspect_ratio: Annotated[float, Field(gt=0)] = 1.0

    @property
    def size(self) -> ImageSize:
        """Size of the largest packed images."""
        return self.size_at(None)

    def size_at(self, height: int | None) -> ImageSize:
        """The size of images with this height in pixels; None is that of the largest ones."""
        return size_of_height(height or self.image_size, self.aspect_ratio)

    def compute_fingerprint(self) -> str:
        """The correct value of ``fingerprint``."""
        values = self.as_json()
        return hash_value({k: v for k, v in values.items() if k not in ("fingerprint", "audit")})

    def as_json(self) -> dict[str, Any]:
        """The content of ``dataset.json``."""
        values = asdict(self)
        if self.unlabelled is None:
            del values["unlabelled"]
        if self.channels == 3:
            del values["channels"]
        if self.aspect_ratio == 1:
            del values["aspect_ratio"]
        return values


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: uint8 [n, height, width, channels], memory-mapped.
        labels: int64 [n].
        groups: int64 [n]. Images with the same number belong together, such as near-duplicates or
            photographs of one object. None if unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: NDArray[np.int64]) -> Split:
        """Copies the images at ``indices``, int64 [m], into memory."""
        groups = None if self.groups is None else self.groups[indices]
        return Split(self.images[indices], self.labels[indices], groups)


@dataclass(frozen=True)
class PreparedData:
    """A folder written by ``pipeline.data.packing``.

    A ``size`` is one of the packed sizes; None is ``image_size``.
    """

    folder: Path
    info: DatasetInfo

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return tuple(self.info.classes)

    @property
    def image_size(self) -> ImageSize:
        """Size of the largest packed images."""
        return self.info.size

    def size_at(self, height: int | None) -> ImageSize:
        """The size of images with this height in pixels; None is that of the largest ones."""
        return self.info.size_at(height)

    @property
    def channels(self) -> Literal[3, 1]:
        """3 for RGB images, 1 for gray ones."""
        return self.info.channels

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, labels, groups, names, class names and their order."""
        return self.info.fingerprint

    def images_path(self, name: SplitName, size: ImageSize | None = None) -> Path:
        """The file with the images of a split, readable by the device runtime."""
        return self.folder / name / images_file(size or self.image_size, self.image_size)

    def split(self, name: SplitName, size: ImageSize | None = None) -> Split:
        """Opens a split. Its files are read once per process, to compare their hashes.

        Raises:
            ArtifactError: A file is missing, truncated, or not the one that ``dataset.json``
                describes; or the images are not packed with this size.
        """
        folder, expected = self.folder / name, self.info.splits.get(name)
        size = size or self.image_size
        images = images_file(size, self.image_size)
        if expected is None:
            raise ArtifactError(self.folder / "dataset.json", f"has no split {name!r}")
        if size != self.image_size and images not in expected.files:
            problem = f"has no {name} images of {in_pixels(size)}"
            raise ArtifactError(self.folder / "dataset.json", problem, "run `finch prepare`")
        shapes = {
            images: (expected.images, *height_and_width(size), self.channels),
            "labels.npy": (expected.images,),
            "groups.npy": (expected.images,),
        }
        arrays = {
            file: _open(folder / file, shape, expected.files) for file, shape in shapes.items()
        }
        labels, groups = (np.array(arrays[file]) for file in ("labels.npy", "groups.npy"))
        return Split(arrays[images], labels, groups)

    def names(self, name: SplitName) -> list[str]:
        """Names of the images of a split, relative to the data set.

        Raises:
            ArtifactError: The file is missing, or not the one that ``dataset.json`` describes.
        """
        path = self.folder / name / "names.txt"
        if not path.is_file():
            raise ArtifactError(path, "is missing", "run `finch prepare`")
        _check_hash(path, self.info.splits[name].files)
        return path.read_text(encoding="utf-8").split("\n")[:-1]

    def unlabelled(self) -> NDArray[np.uint8]:
        """The images without labels, uint8 [m, height, width, channels], memory-mapped; m can be 0.

        Raises:
            ArtifactError: As ``split``.
        """
        info, shape = self.info.unlabelled, (*height_and_width(self.image_size), self.channels)
        if info is None:
            return np.empty((0, *shape), dtype=np.uint8)
        return _open(self.folder / UNLABELLED, (info.images, *shape), info.files)


def select_images(
    labelled: NDArray[np.uint8], unlabelled: NDArray[np.uint8], numbers: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Copies images by number into memory; those without labels follow those with labels.

    Args:
        labelled: uint8 [n, height, width, channels]; these images have the numbers 0 to n - 1.
        unlabelled: uint8 [m, height, width, channels]; these have the numbers n to n + m - 1.
        numbers: int64 [k], sorted.
    """
    count = np.searchsorted(numbers, len(labelled))
    images = labelled[numbers[:count]]
    if count == len(numbers):
        return images
    return np.concatenate([images, unlabelled[numbers[count:] - len(labelled)]])


def images_file(size: ImageSize, largest: ImageSize) -> str:
    """Name of the file with the images of a split; both are packed sizes."""
    if size == largest:
        return "images.npy"
    return f"images_{as_text(size).replace(' ', '')}.npy"


def open_prepared(folder: Path) -> PreparedData:
    """Opens a prepared folder.

    Raises:
        ArtifactError: ``dataset.json`` is missing, has another format, or was changed.
    """
    path = folder / "dataset.json"
    value = read_json(path)
    if value.get("format") != FORMAT:
        problem = f"has format {value.get('format')!r}, expected {FORMAT}"
        raise ArtifactError(path, problem, "run `finch prepare`")
    info = parse_artifact(path, DatasetInfo, value)
    if info.fingerprint != info.compute_fingerprint():
        raise ArtifactError(
            path, "was changed: its fingerprint does not match", "run `finch prepare`"
        )
    return PreparedData(folder, info)


def _open(path: Path, shape: tuple[int, ...], files: dict[str, str]) -> NDArray[Any]:
    """Opens an array of images, or of labels or groups if it has one dimension."""
    array, dtype = open_array(path), np.uint8 if len(shape) > 1 else np.int64
    if array.shape != shape or array.dtype != dtype:
        problem = f"is {array.dtype} {array.shape}, expected {dtype.__name__} {shape}"
        raise ArtifactError(path, problem)
    _check_hash(path, files)
    return array


def _check_hash(path: Path, files: dict[str, str]) -> None:
    expected, found = files.get(path.name, "none"), _hash(path)
    if found != expected:
        problem = f"was changed: is {found[:12]}, but dataset.json records {expected[:12]}"
        raise ArtifactError(path, problem)


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_of_version(path, status.st_size, status.st_mtime_ns, status.st_ino)


@cache
def _hash_of_version(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    return hash_file(path)

"""Base class of data sources, and the types that they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

NO_LABEL = -1
"""``Sample.label`` of an image without a label."""


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        path: The image file. With ``content``, a path that identifies the image.
        name: Name within the data set, with forward slashes; the same on every machine.
        label: Class index; ``NO_LABEL`` for an image without a label.
        split: The published split, or None if the source publishes none.
        group: Samples with the same group are kept in one split.
        content: Returns an encoded image, for samples without a file of their own, such as rows of
            an array. Must be picklable, because worker processes call it.
    """

    path: Path
    name: str
    label: int
    split: SplitName | None = None
    group: str | None = None
    content: Callable[[], bytes] | None = None

    @classmethod
    def from_path(
        cls,
        root: Path,
        path: Path,
        label: int,
        split: SplitName | None,
        group: str | None = None,
        where: str = "",
    ) -> Sample:
        """A sample named by its path relative to ``root``. ``where`` is the line that lists it.

        Raises:
            DataError: The path is outside of ``root``; with ``where``, also if it is not a file.
        """
        if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
            raise DataError(where or root, f"{str(path)!r} is outside the data set's folder")
        if where and not is_file(path):
            raise DataError(where, f"{str(path)!r} is not a file", "restore it, or remove the line")
        return cls(path, path.relative_to(root).as_posix(), label, split, group)

    def read(self) -> bytes:
        """The encoded image."""
        return self.path.read_bytes() if self.content is None else self.content()


@dataclass(frozen=True)
class ImageDataset:
    """Labeled images. Consecutive images may be related, such as frames of a video.

    Attributes:
        name: Name of the source.
        classes: Class names; a label is an index into them.
        samples: The images.
        license: License of the images.
        origin: URL or other description of their source.
        passed_over: Files below the source's folder that are not read.
        remarks: What the source decided about the layout, one sentence each.
        comparable_splits: As in ``DataSource``.
        unlabelled: Images without labels that the source lists beside the others.
    """

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    license: str
    origin: str
    passed_over: tuple[PassedOver, ...] = ()
    remarks: tuple[str, ...] = ()
    comparable_splits: bool = True
    unlabelled: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class PassedOver:
    """A file below the source's folder that is not read.

    Attributes:
        name: Name within the data set, like ``Sample.name``.
        is_image: Whether it is an image, in a format that is not read or outside of the class
            folders, rather than another file.
        label: Index of the class whose folder contains it; None if it lies elsewhere.
    """

    name: str
    is_image: bool
    label: int | None = None


@dataclass(frozen=True)
class Listing:
    """What a source found.

    Attributes:
        classes: Class names; a label is an index into them.
        samples: The images. Consecutive images may be related.
        passed_over: Files that are not read; sources of published data sets list none.
        remarks: What the source decided about the layout, one sentence each, for the log.
        unlabelled: Images without labels.
    """

    classes: Sequence[str]
    samples: Sequence[Sample]
    passed_over: Sequence[PassedOver] = ()
    remarks: Sequence[str] = ()
    unlabelled: Sequence[Sample] = ()


class DataSource(ABC):
    """Base class of data sources; ``@SOURCES.register("name")`` makes a subclass available.

    Keyword-only arguments of ``__init__`` become parameters under ``prepare.<name>``.

    Attributes:
        license: License of the images.
        origin: URL or other description of their source; if empty, the name of ``path``.
        path_kind: What ``prepare.path`` must point to; None if the source needs no path.
        publishes_splits: Whether samples can have a split (``prepare.split: published``).
        comparable_splits: Whether results on its splits are compared with those of others. Then
            copies of an image in two of them are reported; otherwise they are an error.
        can_download: Whether ``read`` has an argument ``download: bool`` (``prepare.download``).
    """

    license: str = "not stated"
    origin: str = ""
    path_kind: ClassVar[Literal["folder", "table"] | None] = "folder"
    publishes_splits: ClassVar[bool] = True
    comparable_splits: ClassVar[bool] = True
    can_download: ClassVar[bool] = False

    @abstractmethod
    def read(self, path: Path) -> Listing:
        """Lists class names and samples.

        Args:
            path: ``prepare.path``; an existing folder if ``path_kind`` is folder, unless the source
                can download it.

        Raises:
            DataError: Files are missing, or not in the layout of the source.
        """

    def files(self, path: Path) -> Iterable[Path]:
        """Files and folders that the images are made from; after a change, they are read again.

        By default the folder ``path``; without one, the table and the files of the samples.

        Args:
            path: As for ``read``.

        Raises:
            DataError: As ``read``.
        """
        if self.path_kind == "folder":
            return [path]
        table = [path] if self.path_kind == "table" else []
        return dict.fromkeys([*table, *(sample.path for sample in self.read(path).samples)])


def encode_ppm(pixels: NDArray[np.uint8]) -> bytes:
    """Encodes pixels, [height, width, 3], as a PPM file."""
    height, width, _ = pixels.shape
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


def read_text(path: Path, remedy: str) -> str:
    """Reads a UTF-8 text file of a data set.

    Raises:
        DataError: The file cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path, remedy).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise DataError(path, "is not UTF-8 text", remedy) from None


def read_bytes(path: Path, remedy: str) -> bytes:
    """Reads a file of a data set.

    Raises:
        DataError: The file cannot be read, or is a pipe or a device.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(path, "is not a regular file", remedy)
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", remedy) from None


def is_file(path: Path) -> bool:
    """``Path.is_file``, but returns False instead of raising an error for invalid names."""
    try:
        return path.is_file()
    except OSError:
        return False

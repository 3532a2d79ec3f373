"""Listing of the images without labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.base import NO_LABEL, ImageDataset, PassedOver, Sample
from pipeline.data.sources.folder_tree import scan
from pipeline.errors import DataError

if TYPE_CHECKING:  # pipeline.params imports the sources
    from pipeline.params import Prepare


def read_unlabelled(prepare: Prepare, dataset: ImageDataset) -> UnlabelledListing:
    """Lists the images in the folder ``prepare.unlabelled`` and those that the source lists.

    Raises:
        DataError: The folder is missing, cannot be read, has no images, or has a labelled one.
    """
    if prepare.unlabelled is None:
        return UnlabelledListing(dataset.unlabelled)
    listed = list_folder(Path(prepare.unlabelled).expanduser(), dataset.samples)
    return replace(listed, samples=(*dataset.unlabelled, *listed.samples))


@dataclass(frozen=True)
class UnlabelledListing:
    """Images without labels.

    Attributes:
        samples: The images; those of a folder in the order of their names.
        unread: Images in formats that are not read.
    """

    samples: tuple[Sample, ...]
    unread: tuple[PassedOver, ...] = ()


def list_folder(folder: Path, labelled: Sequence[Sample]) -> UnlabelledListing:
    """Lists the images in a folder and in all folders below it.

    Raises:
        DataError: The folder is missing, cannot be read, has no images, or has a labelled one.
    """
    _check_folder(folder)
    trees = list(scan(folder).walk())
    files = [file for tree in trees for file in tree.images]
    known = {os.path.realpath(sample.path) for sample in labelled}
    if both := [file for file in files if os.path.realpath(file) in known]:
        raise DataError(
            folder,
            f"has {len(both)} images with labels, such as {both[0]}",
            "set prepare.unlabelled to a folder without them, outside of the folders of classes",
        )
    if not files:
        remedy = "add some, or set prepare.unlabelled to null"
        raise DataError(folder, "has no image that can be read", remedy)
    return UnlabelledListing(
        tuple(Sample.from_path(folder, file, NO_LABEL, None) for file in files),
        tuple(
            PassedOver(file.relative_to(folder).as_posix(), is_image=True)
            for tree in trees
            for file in tree.unread
        ),
    )


def unlabelled_files(prepare: Prepare) -> tuple[Path, ...]:
    """The folder of the images without labels, if there is one.

    Raises:
        DataError: It is not a folder, or cannot be read.
    """
    if prepare.unlabelled is None:
        return ()
    folder = Path(prepare.unlabelled).expanduser()
    _check_folder(folder)
    return (folder,)


def _check_folder(folder: Path) -> None:
    try:
        exists = folder.is_dir()
    except OSError as error:
        raise DataError(folder, f"cannot be read ({error.strerror})", "check permissions") from None
    if not exists:
        remedy = "set prepare.unlabelled to a folder of images without labels, or to null"
        raise DataError(folder, "is not a folder", remedy)

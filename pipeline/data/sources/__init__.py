"""Data sources, which list labeled images. ``DataSource`` is their base class."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.sources.base import (
    SPLITS,
    DataSource,
    ImageDataset,
    Listing,
    PassedOver,
    Sample,
    SplitName,
    is_file,
)
from pipeline.data.sources.grouping import CAPTURE_WORDS, group_by_folder, group_by_name
from pipeline.data.sources.passed_over import count_by_suffix, describe, how_to_read
from pipeline.data.sources.split_plan import SplitPlan, check_split_classes, plan_splits
from pipeline.data.sources.versions import group_versions
from pipeline.errors import DataError
from pipeline.plugins import SOURCES
from pipeline.plugins.section import Section

if TYPE_CHECKING:  # pipeline.params imports the sources
    from pipeline.params import Prepare

_ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"))

__all__ = [
    "SPLITS",
    "DataSource",
    "ImageDataset",
    "Listing",
    "PassedOver",
    "Sample",
    "SplitName",
    "SplitPlan",
    "plan_splits",
    "read_source",
    "source_files",
]


def read_source(prepare: Prepare) -> ImageDataset:
    """Lists the samples of ``prepare.source`` and checks them.

    Groups by EXIF data (``capture_day`` and ``camera`` of ``prepare.group_by``) are set by
    ``group_by_capture``, after the images are decoded.

    Raises:
        DataError: Data is missing, not in the layout of the source, or unusable; or a name does not
            match ``prepare.group_by``, or most images are in no folder that it asks for.
    """
    source, path = _open(prepare)
    download = {"download": prepare.download} if source.can_download else {}
    found = source.read(path, **download)
    dataset = ImageDataset(
        prepare.source,
        tuple(found.classes),
        tuple(found.samples),
        source.license,
        source.origin or path.name,
        tuple(found.passed_over),
        tuple(found.remarks),
        source.comparable_splits,
        tuple(found.unlabelled),
    )
    check_dataset(dataset)
    plan = plan_splits(dataset, prepare.split)
    remarks = [*plan.remarks, *check_split_classes(dataset, plan)]
    if prepare.group_by is None:
        dataset, found_versions = _group_versions(dataset)
        remarks += found_versions
    elif prepare.group_by == "folder":
        dataset, found_folders = group_by_folder(dataset)
        remarks += found_folders
    elif prepare.group_by not in CAPTURE_WORDS:
        dataset = group_by_name(dataset, prepare.group_by)
    return replace(dataset, remarks=(*dataset.remarks, *remarks))


def source_files(prepare: Prepare) -> tuple[Path, ...]:
    """Files and folders that the images of ``prepare.source`` are made from.

    There are none with ``prepare.download``, since torchvision verifies what it downloads.

    Raises:
        DataError: As ``read_source``, as far as the files are found by it.
    """
    source, path = _open(prepare)
    if source.can_download:
        if prepare.download:
            return ()
        _check_folder(path, f"{prepare.source}, or prepare.download to true")
    return tuple(source.files(path))


def _open(prepare: Prepare) -> tuple[DataSource, Path]:
    """The source and its path."""
    options = vars(prepare).get(prepare.source)
    arguments = dict(options) if isinstance(options, Section) else {}
    source: DataSource = SOURCES[prepare.source](**arguments)
    path = Path(prepare.path or "").expanduser()
    if source.path_kind == "folder" and not source.can_download:
        _check_folder(path, prepare.source)
    return source, path


def _check_folder(path: Path, source: str) -> None:
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check permissions") from None
    if path.suffix.lower() in _ARCHIVES and is_file(path):
        raise DataError(path, "is an archive", "unpack it, and set prepare.path to the folder")
    if not is_folder:
        raise DataError(path, "is not a folder", f"set prepare.path to the folder of {source}")


def _group_versions(dataset: ImageDataset) -> tuple[ImageDataset, list[str]]:
    """The data set with the versions of one image in one group, and a remark if there are some."""
    samples = tuple(group_versions(dataset.samples))
    changed = [new for new, old in zip(samples, dataset.samples, strict=True) if new is not old]
    images = len({sample.group for sample in changed})
    if images == len(changed):
        return dataset, []
    remark = f"versions of one image by their names, and kept in one split: {len(changed)} images"
    return replace(dataset, samples=samples), [f"{remark}, such as {changed[0].name!r}"]


def check_dataset(dataset: ImageDataset) -> None:
    """Checks classes, names and files.

    Raises:
        DataError: There are fewer than two classes; a class has no images; two class names differ
            only in case; a name is empty, not UTF-8 or not one line; a file is missing.
    """
    where = f"source {dataset.name!r}"
    for name in (*dataset.classes, *(sample.name for sample in dataset.samples)):
        try:
            name.encode()
        except UnicodeEncodeError:  # Python reads such names, but cannot write them to names.txt
            raise DataError(where, f"the name {name!r} is not UTF-8", "rename it") from None
        # names.txt and the labels.txt of a bundle have a line per name.
        if not name.strip() or name.splitlines() != [name]:
            problem = f"the name {name!r} is empty, or has a line break"
            raise DataError(where, problem, "rename it")
    by_folded_name: dict[str, str] = {}
    for name in dataset.classes:
        folded = " ".join(unicodedata.normalize("NFC", name).casefold().split())
        other = by_folded_name.setdefault(folded, name)
        if other != name:
            problem = f"classes {other!r} and {name!r} differ only in case, spaces or Unicode form"
            raise DataError(where, problem, "rename one")
    labels = [sample.label for sample in dataset.samples]
    for label in np.flatnonzero(np.bincount(labels, minlength=len(dataset.classes)) == 0):
        kinds = count_by_suffix(file for file in dataset.passed_over if file.label == label)
        problem = "has no images" + (f" that are read, but {describe(kinds)}" if kinds else "")
        is_unread = any(kind.is_image for kind in kinds)
        remedy = how_to_read(kinds) if is_unread else "add some, or remove it"
        raise DataError(f"class {dataset.classes[label]!r}", problem, remedy)
    if not dataset.classes:
        raise DataError(where, "has no classes", "set prepare.path to what contains them")
    if len(dataset.classes) < 2:
        remedy = "add images of others, or set prepare.path to what contains them"
        raise DataError(where, f"has 1 class, {dataset.classes[0]!r}, 2 are needed", remedy)
    for sample in dataset.samples:
        if sample.content is None and not is_file(sample.path):
            raise DataError(sample.path, "is not a file", "restore it, or fetch the data set again")

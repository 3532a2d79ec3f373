"""Data sources: each lists labeled images. One file per source, see ``DataSource``."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.base import SPLITS, DataSource, ImageDataset, Sample, SplitName
from pipeline.data.sources.checks import check_dataset, check_split_classes
from pipeline.errors import DataError
from pipeline.plugins import SOURCES

if TYPE_CHECKING:  # pipeline.params looks the sources up
    from pipeline.params import Prepare

__all__ = ["SPLITS", "DataSource", "ImageDataset", "Sample", "SplitName", "read_source"]


def read_source(prepare: Prepare) -> ImageDataset:
    """Lists the samples of ``prepare.source`` and checks them.

    Raises:
        DataError: Data is missing, not in the layout of the source, or unusable; or a name does not
            match ``prepare.group_by``.
    """
    options = getattr(prepare, prepare.source, None)
    source: DataSource = SOURCES[prepare.source](**(dict(options) if options else {}))
    path = Path(prepare.path or "").expanduser()
    if source.path_kind == "folder" and not source.can_download:
        _check_folder(path, prepare.source)
    download = {"download": prepare.download} if source.can_download else {}
    classes, samples = source.read(path, **download)
    dataset = ImageDataset(
        prepare.source, tuple(classes), tuple(samples), source.license, source.origin or path.name
    )
    check_dataset(dataset)
    if source.requires_all_classes:
        check_split_classes(dataset, path)
    return dataset if prepare.group_by is None else _group(dataset, prepare.group_by)


def _check_folder(path: Path, source: str) -> None:
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check permissions") from None
    if not is_folder:
        raise DataError(path, "is not a folder", f"set prepare.path to the folder of {source}")


def _group(dataset: ImageDataset, pattern: str) -> ImageDataset:
    """Sets every sample's group to what a regular expression matches in its name."""
    samples = []
    for sample in dataset.samples:
        match = re.search(pattern, sample.name)
        if match is None:
            raise DataError(
                f"image {sample.name!r}",
                f"name does not match prepare.group_by = {pattern!r}",
                "use an expression that matches every name",
            )
        # A capture group that did not participate is None.
        group = "/".join(part or "" for part in match.groups() or (match[0],))
        samples.append(replace(sample, group=group))
    return replace(dataset, samples=tuple(samples))

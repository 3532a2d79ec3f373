"""Groups of images that belong together: by name, by folder, or by what their EXIF data says."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.base import ImageDataset
from pipeline.errors import DataError

CAPTURE_WORDS = ("capture_day", "camera")
"""Values of ``prepare.group_by`` that need EXIF data."""

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class _Kind:
    """A reserved word of ``prepare.group_by``: its groups, what images may lack, and the remedy."""

    group: str
    lack: str
    remedy: str


_FOLDERS = "put each visit, nest or patient into a folder below its class"
_EXIF = f"use the files as the camera wrote them, or {_FOLDERS} and set prepare.group_by: folder"
_KINDS = {
    "folder": _Kind("folder", "folder below their class", f"{_FOLDERS}, or change the value"),
    "capture_day": _Kind("day", "capture time in their EXIF data", _EXIF),
    "camera": _Kind("camera", "camera in their EXIF data", _EXIF),
}


def group_by_name(dataset: ImageDataset, pattern: str) -> ImageDataset:
    """Sets the group of every sample to the match of a regular expression in its name.

    Raises:
        DataError: A name does not match.
    """
    samples = []
    for sample in dataset.samples:
        match = re.search(pattern, sample.name)
        if match is None:
            problem = f"name does not match prepare.group_by = {pattern!r}"
            remedy = "use an expression that matches every name"
            raise DataError(f"image {sample.name!r}", problem, remedy)
        # A capture group that did not participate is None.
        group = "/".join(part or "" for part in match.groups() or (match[0],))
        samples.append(replace(sample, group=group))
    return replace(dataset, samples=tuple(samples))


def group_by_folder(dataset: ImageDataset) -> tuple[ImageDataset, list[str]]:
    """Sets the group of every sample to its folder below the class, as ``folders_below`` finds it.

    Folders of the same name below several classes are the same group, since a visit or a patient
    can have images of several classes.

    Returns:
        The data set, and a remark if some images are in no such folder.

    Raises:
        DataError: As ``group_by_capture``.
    """
    return _set_groups(dataset, folders_below(dataset), "folder")


def group_by_capture(
    dataset: ImageDataset, capture: NDArray[np.int64] | NDArray[np.uint64], group_by: str
) -> tuple[ImageDataset, list[str]]:
    """Sets the group of every sample to its capture day or its camera.

    Images that lack it are one group, because any two of them may belong together. Groups are
    numbered, since a date or a serial number can identify a person.

    Args:
        dataset: The images.
        capture: Their capture times in seconds, or their cameras, [images]; 0 if unknown.
        group_by: ``capture_day`` or ``camera``.

    Returns:
        The data set, and a remark if some images are in the group of the unknown.

    Raises:
        DataError: More than half of all images or all images of a class lack it.
    """
    keys = capture // DAY_S if group_by == "capture_day" else capture
    names = {
        key: f"{_KINDS[group_by].group} {number}"
        for number, key in enumerate(np.unique(keys[keys != 0]).tolist(), 1)
    }
    return _set_groups(dataset, [names.get(key) for key in keys.tolist()], group_by)


def folders_below(dataset: ImageDataset, *, of_tables: bool = True) -> list[str | None]:
    """The first folder below the class folder of every image; None if there is none.

    With ``of_tables``, if no folder on an image's path is named like its class, as in a table, the
    folder of an image is the one that contains it.
    """
    return [
        _folder_below(sample.name, dataset.classes[sample.label], of_tables=of_tables)
        for sample in dataset.samples
    ]


def _folder_below(name: str, label: str, *, of_tables: bool) -> str | None:
    folders = PurePosixPath(name).parts[:-1]
    composed = [unicodedata.normalize("NFC", folder) for folder in folders]
    if label not in composed:
        return ("/".join(folders) or None) if of_tables else None
    below = folders[composed.index(label) + 1 :]
    return below[0] if below else None


def _set_groups(
    dataset: ImageDataset, groups: Sequence[str | None], group_by: str
) -> tuple[ImageDataset, list[str]]:
    """Sets the groups of all samples; those without one are a group, too."""
    kind, samples = _KINDS[group_by], dataset.samples
    lacking = [index for index, group in enumerate(groups) if group is None]
    _check_lacking(dataset, lacking, group_by)
    grouped = tuple(
        replace(sample, group=f"no {kind.group}" if group is None else group)
        for sample, group in zip(samples, groups, strict=True)
    )
    remarks = []
    if lacking:
        remarks = [
            f"prepare.group_by: {group_by}: {len(lacking)} of {len(samples)} images have no "
            f"{kind.lack}, such as {samples[lacking[0]].name!r}; they are one group"
        ]
    return replace(dataset, samples=grouped), remarks


def _check_lacking(dataset: ImageDataset, lacking: Sequence[int], group_by: str) -> None:
    kind, samples = _KINDS[group_by], dataset.samples
    where = f"prepare.group_by: {group_by}"
    if 2 * len(lacking) > len(samples):
        name = samples[lacking[0]].name
        problem = f"{len(lacking)} of {len(samples)} images have no {kind.lack}, such as {name!r}"
        raise DataError(where, problem, kind.remedy)
    totals = Counter(sample.label for sample in samples)
    without = Counter(samples[index].label for index in lacking)
    if empty := sorted(label for label in without if without[label] == totals[label]):
        more = f" (and of {len(empty) - 1} more classes)" if len(empty) > 1 else ""
        problem = f"the images of class {dataset.classes[empty[0]]!r}{more} have no {kind.lack}"
        raise DataError(where, problem, kind.remedy)

"""Sessions: images that were taken in one go, as far as files tell.

A split that parts a session flatters: the images of one session share light, place and objects, so
that those in validation are easier than images of another day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.base import ImageDataset, SplitName
from pipeline.data.sources.grouping import DAY_S, folders_below

MAX_GAP_S = 30 * 60
"""A longer pause between two images of a camera starts a new session."""

MAX_MISSING = 10
"""More missing numbers between two numbered file names start a new session."""

MIN_KNOWN = 0.5
"""Sessions are not looked for by what a smaller fraction of the images has."""

_MOST_COMPARED = 1000

# Names that cameras give, as the design rule for camera file systems (DCF) demands: four
# characters and four digits. Other numbered names say nothing: data sets are renumbered.
_CAMERA_NAME = re.compile(
    r"(IMG_|_MG_|DSC_|_DSC|DSCN|DSCF|DSC0|IMGP|PICT|CIMG|GOPR|DJI_|P\d{3})(\d{4})"
)

ToldBy = Literal["capture_time", "folder", "name"]


@dataclass(frozen=True)
class Sessions:
    """The session of every image.

    Attributes:
        told_by: ``capture_time``: images of one camera and day without a pause above
            ``MAX_GAP_S``; ``folder``: images of a class in one folder below it; ``name``: images in
            one folder whose names a camera has numbered without a gap.
        of_image: int64 [images], the number of the session; -1 if unknown.
        day_of_image: int64 [images], the capture day in days since 1970; -1 if unknown.
    """

    told_by: ToldBy
    of_image: NDArray[np.int64]
    day_of_image: NDArray[np.int64]

    def per_class(self, labels: NDArray[np.int64], classes: int) -> list[int]:
        """Number of sessions of every class."""
        return _distinct(self.of_image, labels, classes)

    def days_per_class(self, labels: NDArray[np.int64], classes: int) -> list[int]:
        """Number of capture days of every class; 0 if unknown."""
        return _distinct(self.day_of_image, labels, classes)


@dataclass(frozen=True)
class SharedSessions:
    """Images of a split whose sessions have training images, too.

    Attributes:
        images: Number of images of the split.
        shared: Number of those whose session has training images.
        nearest: Of the shared images, the fraction whose most similar training image of the same
            class, by perceptual hash, is of the same session.
        by_chance: The same for a training image of the class that is drawn at random.
        is_nearer: Whether ``nearest`` exceeds ``by_chance`` by more than two standard errors.
    """

    images: int
    shared: int
    nearest: float
    by_chance: float
    is_nearer: bool

    @property
    def fraction(self) -> float:
        """The shared images as a fraction of the split."""
        return self.shared / self.images if self.images else 0.0


def find_sessions(
    dataset: ImageDataset, capture_time: NDArray[np.int64], camera: NDArray[np.uint64]
) -> Sessions | None:
    """Finds sessions by capture times, else by folders below the classes, else by names.

    Args:
        dataset: The images.
        capture_time: Their capture times in seconds, [images]; 0 if unknown.
        camera: Their cameras, [images]; 0 if unknown.

    Returns:
        The sessions; None if the files do not tell them.
    """
    found = _by_time(capture_time, camera)
    if found is not None:
        days = np.where(capture_time > 0, capture_time // DAY_S, -1)
        return Sessions("capture_time", found, days)
    unknown = np.full(len(dataset.samples), -1)
    if (found := _by_folder(dataset)) is not None:
        return Sessions("folder", found, unknown)
    if (found := _by_name([sample.name for sample in dataset.samples])) is not None:
        return Sessions("name", found, unknown)
    return None


def find_shared(
    sessions: Sessions,
    labels: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    splits: Mapping[SplitName, Sequence[int]],
) -> dict[SplitName, SharedSessions]:
    """The images of validation and test whose sessions have training images.

    Args:
        sessions: The sessions.
        labels: Class indices, [images].
        hashes: Perceptual hashes, [images, words]. At most 1,000 images of a split, evenly spaced,
            are compared with the training images.
        splits: Indices of the images of every split.
    """
    train = np.array(splits["train"], dtype=np.int64)
    of = sessions.of_image
    trained = np.unique(of[train])
    found: dict[SplitName, SharedSessions] = {}
    for name in ("val", "test"):
        indices = np.array(splits[name], dtype=np.int64)
        shared = indices[(of[indices] >= 0) & np.isin(of[indices], trained)]
        nearest, chance, error = _compare(shared, train, of, labels, hashes)
        is_nearer = nearest - chance > 2 * error > 0
        found[name] = SharedSessions(len(indices), len(shared), nearest, chance, is_nearer)
    return found


def _compare(
    shared: NDArray[np.int64],
    train: NDArray[np.int64],
    of: NDArray[np.int64],
    labels: NDArray[np.int64],
    hashes: NDArray[np.uint64],
) -> tuple[float, float, float]:
    """``nearest`` and ``by_chance`` of ``SharedSessions``, and the standard error of the latter."""
    count = min(_MOST_COMPARED, len(shared))
    compared = shared[np.linspace(0, len(shared) - 1, count).astype(np.int64)]
    of_class = {label: train[labels[train] == label] for label in set(labels[compared].tolist())}
    nearest, chance = [], []
    for index in compared.tolist():
        others = of_class[int(labels[index])]
        if not len(others):
            continue
        same = of[others] == of[index]
        bits = np.bitwise_count(hashes[others] ^ hashes[index]).sum(axis=1)
        nearest.append(float(same[bits == bits.min()].mean()))  # of several, each counts equally
        chance.append(float(same.mean()))
    if not nearest:
        return 0.0, 0.0, 0.0
    p = np.array(chance)
    error = float(np.sqrt((p * (1 - p)).sum()) / len(p))
    return float(np.mean(nearest)), float(p.mean()), error


def _by_time(time: NDArray[np.int64], camera: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    known = np.flatnonzero(time > 0)
    if not _enough(len(known), len(time)):
        return None
    # A session ends with its day, so that groups of one day part none.
    day = time // DAY_S
    order = known[np.lexsort((time[known], camera[known], day[known]))]
    starts = (
        (np.diff(day[order]) != 0)
        | (camera[order][1:] != camera[order][:-1])
        | (np.diff(time[order]) > MAX_GAP_S)
    )
    sessions = np.full(len(time), -1)
    sessions[order] = np.concatenate([[0], np.cumsum(starts)])
    return sessions


def _by_folder(dataset: ImageDataset) -> NDArray[np.int64] | None:
    folders = folders_below(dataset, of_tables=False)
    keys = [
        folder and (sample.label, folder)
        for sample, folder in zip(dataset.samples, folders, strict=True)
    ]
    known = {key for key in keys if key}
    if not _enough(sum(map(bool, keys)), len(keys)):
        return None
    if max(Counter(label for label, _ in known).values()) < 2:
        return None
    return _number(keys)


def _by_name(names: Sequence[str]) -> NDArray[np.int64] | None:
    runs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        if match := _CAMERA_NAME.fullmatch(path.stem):
            prefix, number = match.groups()
            runs.setdefault((str(path.parent), prefix), []).append((int(number), index))
    if not _enough(sum(map(len, runs.values())), len(names)):
        return None
    sessions = np.full(len(names), -1)
    session = -1
    for _, run in sorted(runs.items()):
        last = -np.inf
        for number, index in sorted(run):
            session += number - last > MAX_MISSING + 1
            last = number
            sessions[index] = session
    return sessions


def _enough(known: int, images: int) -> bool:
    return 0 < known >= MIN_KNOWN * images


def _number(keys: Sequence[object]) -> NDArray[np.int64]:
    """The number of each key, in the order of their first occurrence; -1 for None."""
    numbers: dict[object, int] = {}
    return np.array(
        [-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys],
        dtype=np.int64,
    )


def _distinct(keys: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> list[int]:
    known = keys >= 0
    pairs = np.unique(np.column_stack([labels[known], keys[known]]), axis=0)
    counts: list[int] = np.bincount(pairs[:, 0], minlength=classes).tolist()
    return counts

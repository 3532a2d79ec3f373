"""Folds of the training images, for teachers that each learn from all folds but one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Split
from pipeline.data.stratify import stratify
from pipeline.errors import DataError, ParameterError


def assign_folds(
    train: Split, classes: tuple[str, ...], count: int, seed: int
) -> NDArray[np.int64]:
    """Assigns every training image to a fold, with similar class proportions in all folds.

    Images of one group are in one fold. A class with fewer groups than folds is in some folds only.

    Args:
        train: Training split.
        classes: Class names, for error messages.
        count: Number of folds, 2 or more.
        seed: Seed of the assignment.

    Returns:
        Fold of every image, int64 [n].

    Raises:
        ParameterError: There are fewer groups than folds.
        DataError: All images of a class are in one fold, whose teacher would not know the class.
    """
    groups = np.arange(len(train)) if train.groups is None else train.groups
    parts = stratify(train.labels, [1.0] * count, 1, seed, groups)
    if not all(map(len, parts)):
        problem = f"the training images are {len(set(groups.tolist()))} groups"
        remedy = "set it to that or less; a group stays in one fold"
        raise ParameterError(f"cache_logits.folds = {count}", problem, remedy)
    fold_of = np.empty(len(train), np.int64)
    for fold, images in enumerate(parts):
        fold_of[images] = fold
    for label, name in enumerate(classes):
        images = np.flatnonzero(train.labels == label)
        if len(set(fold_of[images].tolist())) == 1:
            problem = f"its {len(images)} training images are in one fold, whose teacher would "
            remedy = "add images of another group, or set cache_logits.folds to 0"
            raise DataError(f"class {name!r}", f"{problem}not know it", remedy)
    return fold_of

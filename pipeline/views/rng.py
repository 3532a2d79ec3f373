"""The random numbers of a view."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Views

DRAWS_PER_OPERATION = 3  # which one, how strong, and its sign


class Draw(IntEnum):
    """What each number of a view decides. A new one comes at the end: those before stay."""

    CROP_AREA = 0
    CROP_RATIO = 1
    CROP_X = 2
    CROP_Y = 3
    FLIP_X = 4
    FLIP_Y = 5
    TURN = 6
    BRIGHTNESS = 7
    CONTRAST = 8
    SATURATION = 9
    ERASE = 10
    ERASE_AREA = 11
    ERASE_RATIO = 12
    ERASE_X = 13
    ERASE_Y = 14
    HUE = 15
    AUTO = 16  # the first of DRAWS_PER_OPERATION for each operation of ``auto``


def count_operations(recipe: Views) -> int:
    """Operations of ``auto`` that a view goes through."""
    return {"none": 0, "trivial": 1, "rand": recipe.auto_ops}[recipe.auto]


def count_draws(recipe: Views) -> int:
    """Random numbers that a view of the recipe takes."""
    return Draw.AUTO + DRAWS_PER_OPERATION * count_operations(recipe)


def draw(image_ids: NDArray[np.int64], view: int, seed: int, count: int) -> NDArray[np.float64]:
    """Uniform numbers in 0…1, one row per (seed, view, image).

    Args:
        image_ids: int64 [n].
        view: Number of the view.
        seed: Of the recipe.
        count: Numbers per image; the first are the same however many follow.

    Returns:
        float64 [n, count].
    """
    rows = np.empty((len(image_ids), count))
    for row, image_id in zip(rows, image_ids, strict=True):
        key = np.array([(seed << 32) + view, image_id], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).random(out=row)
    return rows

"""Random numbers of views, from a counter-based generator."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Views

NUMBERS_PER_OPERATION = 3  # operation, magnitude and sign


class Column(IntEnum):
    """Purpose of each random number of a view. Other values would change all views."""

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
    AUTO = 16  # the first of NUMBERS_PER_OPERATION for every operation of `auto`


def count_operations(recipe: Views) -> int:
    """Number of `auto` operations per view."""
    return {"none": 0, "trivial": 1, "rand": recipe.auto_ops}[recipe.auto]


def count_numbers(recipe: Views) -> int:
    """Number of random numbers per view."""
    return Column.AUTO + NUMBERS_PER_OPERATION * count_operations(recipe)


def random_numbers(
    image_ids: NDArray[np.int64], view: int, seed: int, count: int
) -> NDArray[np.float64]:
    """Uniform random numbers in [0, 1), float64 [n, count], one row per (seed, view, image).

    A larger count does not change the first numbers.
    """
    rows = np.empty((len(image_ids), count))
    for row, image_id in zip(rows, image_ids, strict=True):
        key = np.array([(seed << 32) + view, image_id], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).random(out=row)
    return rows

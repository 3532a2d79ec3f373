"""Random numbers of views, from a counter-based generator."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Views
from pipeline.views.philox import uniform_numbers

NUMBERS_PER_OPERATION = 3  # operation, magnitude and sign
_NORMAL = 2**64  # first counter of the normal numbers, which `random_numbers` never reaches


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
    AUTO = 16  # the first of NUMBERS_PER_OPERATION for every operation of `auto`, at most 32
    ROTATE = 112
    CORNERS = 113  # the first of 8: x and y of every corner
    SHADOW = 121
    SHADOW_ANGLE = 122
    SHADOW_X = 123
    SHADOW_Y = 124
    SHADOW_EDGE = 125
    DEFOCUS = 126
    MOTION = 127
    MOTION_ANGLE = 128
    NOISE = 129
    JPEG = 130


def count_operations(recipe: Views) -> int:
    """Number of `auto` operations per view."""
    return {"none": 0, "trivial": 1, "rand": recipe.auto_ops}[recipe.auto]


def count_numbers(recipe: Views) -> int:
    """Number of random numbers per view."""
    if recipe.imitates_the_field:
        return Column.JPEG + 1
    return Column.AUTO + NUMBERS_PER_OPERATION * count_operations(recipe)


def random_numbers(
    image_ids: NDArray[np.int64], view: int, seed: int, count: int
) -> NDArray[np.float64]:
    """Uniform random numbers in [0, 1), float64 [n, count], one row per (seed, view, image).

    A larger count does not change the first numbers.
    """
    return uniform_numbers((seed << 32) + view, image_ids, count)


def normal_numbers(
    image_ids: NDArray[np.int64], view: int, seed: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Standard normal random numbers, float32 [n, *shape], one block per (seed, view, image).

    They are independent of ``random_numbers``.
    """
    blocks = np.empty((len(image_ids), *shape), np.float32)
    for block, image_id in zip(blocks, image_ids, strict=True):
        key = np.array([(seed << 32) + view, image_id], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key, counter=_NORMAL))
        generator.standard_normal(dtype=np.float32, out=block)
    return blocks


def half_strengths(
    numbers: NDArray[np.float64], column: Column, maximum: float
) -> NDArray[np.float64]:
    """Strengths, float64 [n]: 0 with probability 0.5, else uniform from 0 to ``maximum``."""
    return maximum * np.maximum(2 * numbers[:, column] - 1, 0)

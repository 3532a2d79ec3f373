"""Passes over images: each image is drawn once, in random order, before one is drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_in_passes(
    images: NDArray[np.int64], count: int, epoch: int, seed: int, stream: tuple[int, ...]
) -> NDArray[np.int64]:
    """Draws ``count`` images for an epoch, a function of the arguments.

    A pass over the images can take several epochs, or part of one.

    Args:
        images: Indices of the images, int64 [n].
        count: Number of draws in every epoch; 0 if there are no images.
        epoch: Epoch, from 0.
        seed: Seed of the order.
        stream: Part of the seed that tells these random numbers from those of other draws. The last
            number must not be 0, since seeds that differ in trailing zeros are equal.

    Returns:
        int64 [count], in the order of the draws.
    """
    drawn = np.empty(count, dtype=np.int64)
    draws = np.arange(epoch * count, (epoch + 1) * count)
    passes, places = np.divmod(draws, max(1, len(images)))
    for number in np.unique(passes).tolist():
        order = np.random.default_rng([seed, number, *stream]).permutation(images)
        drawn[passes == number] = order[places[passes == number]]
    return drawn

"""The training images that set ranges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Split


def draw_calibration(train: Split, count: int, seed: int) -> NDArray[np.uint8]:
    """Draws images without replacement, uint8 [n, size, size, 3] RGB; all where there are fewer."""
    count = min(count, len(train))
    drawn = np.random.default_rng(seed).choice(len(train), count, replace=False)
    return np.array(train.images[np.sort(drawn)])

"""Images for the calibration of int8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Split


def sample_calibration(train: Split, count: int, seed: int) -> NDArray[np.uint8]:
    """Calibration images, uint8 [n, height, width, channels]: ``count`` random ones, or all."""
    count = min(count, len(train))
    chosen = np.random.default_rng(seed).choice(len(train), count, replace=False)
    return np.array(train.images[np.sort(chosen)])

"""CIFAR-100: 60,000 photographs of 32 x 32 pixels, 100 classes.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Publishes train and test.
Its files are pickles. Nothing untrusted is unpickled: torchvision compares each with its published
checksum before it loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.torchvision_set import open_set


@dataclass(frozen=True)
class _Pixels:
    """Pixels, uint8 [height, width, 3], as an image file."""

    pixels: NDArray[np.uint8]

    def __call__(self) -> bytes:
        height, width, _ = self.pixels.shape
        return b"P6 %d %d 255\n" % (width, height) + self.pixels.tobytes()


def read_cifar100(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/cifar-100-python`` with their fine labels.

    Raises:
        DataError: The set is not there, is not the published one, or cannot be fetched.
    """
    parts: dict[SplitName, bool] = {"train": True, "test": False}
    photos = []
    for split, train in parts.items():
        data = open_set("CIFAR100", root, download, train=train)
        path = root / "cifar-100-python" / split
        for row, (pixels, label) in enumerate(zip(data.data, data.targets, strict=True)):
            name = f"{split}/{row:05}.ppm"
            photos.append(Photo(path, name, label, split, content=_Pixels(pixels)))
    return Source(
        name="cifar100",
        classes=tuple(data.classes),
        photos=tuple(photos),
        licence="not stated",
        origin="https://www.cs.toronto.edu/~kriz/cifar.html",
    )

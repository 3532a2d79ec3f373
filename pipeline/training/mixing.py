"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) within a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from finch_runtime.image_size import ImageSize, height_and_width
from numpy.typing import NDArray
from torch import Tensor

from pipeline.params import Recipe


@dataclass(frozen=True)
class Mix:
    """The mixing of one step's images; without pixels, so that every process can sample it.

    Attributes:
        batch: Indices of the step's images, int64 [n], sorted.
        partners: Indices of the images that they are mixed with, int64 [n].
        lam: Weight of each image, 0…1 (λ in the papers); that of its partner is ``1 - lam``.
        box: CutMix's rectangle in pixels: top, bottom, left, right (ends excluded); None for mixup.
        size: Size of the images that ``box`` refers to.
    """

    batch: NDArray[np.int64]
    partners: NDArray[np.int64]
    lam: float
    box: tuple[int, int, int, int] | None = None
    size: ImageSize = 0

    def partners_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The partners of some images of the batch."""
        return self.partners[np.searchsorted(self.batch, indices)]

    def blend(self, images: Tensor, partners: Tensor) -> Tensor:
        """Mixes images with their partners, both float32 [n, 3, height, width].

        Images of another size than ``size`` are mixed in the same part of their area.
        """
        if self.box is None:
            return self.lam * images + (1 - self.lam) * partners
        shape, own = images.shape[-2:], height_and_width(self.size)
        ends = zip(self.box, (0, 0, 1, 1), strict=True)
        top, bottom, left, right = (round(i * shape[axis] / own[axis]) for i, axis in ends)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed


def sample_mix(
    recipe: Recipe, batch: NDArray[np.int64], size: ImageSize, key: Sequence[int]
) -> Mix | None:
    """Samples the mixing of a step; None if the recipe enables neither mixup nor CutMix.

    Args:
        recipe: ``mixup`` and ``cutmix``; if both are enabled, each has probability 1/2.
        batch: Indices of all images of the step, int64 [n], sorted.
        size: Size of the images.
        key: Seed of the random generator.
    """
    methods = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not methods:
        return None
    rng = np.random.default_rng(list(key))
    method = methods[int(rng.integers(len(methods)))]
    alpha = getattr(recipe, method)
    lam = float(rng.beta(alpha, alpha))
    partners = rng.permutation(batch)
    if method == "mixup":
        return Mix(batch, partners, lam)
    # The center is uniform over the image, and the rectangle is clipped at the border.
    sides = np.array(height_and_width(size))
    center, half = rng.uniform(0, sides), sides * np.sqrt(1 - lam) / 2
    ends = np.round([center - half, center + half])
    (top, left), (bottom, right) = np.clip(ends, 0, sides).astype(int).tolist()
    lam = 1 - (bottom - top) * (right - left) / int(sides.prod())
    return Mix(batch, partners, lam, (top, bottom, left, right), size)

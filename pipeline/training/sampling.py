"""How often the images of each class are drawn in training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.training.passes import draw_in_passes

Sampling = Literal["natural", "square_root", "balanced"]

# The probability of a class with n images is proportional to n to this power, as in "Decoupling
# Representation and Classifier for Long-Tailed Recognition" (ICLR 2020, arXiv 1910.09217).
_EXPONENTS: dict[Sampling, float] = {"natural": 1.0, "square_root": 0.5, "balanced": 0.0}

# Part of the seed, so that these random numbers differ from those of the training images' order.
_STREAM = 3


class ClassSampler:
    """Draws the images of an epoch.

    With ``natural`` sampling these are all images, once. Otherwise each class has a fixed number of
    draws per epoch. All its images are drawn once, in random order, before one is drawn again; such
    a pass over the class can take several epochs, or part of one.

    Args:
        labels: Label of every image of the training split, int64.
        indices: Images that are drawn from, int64 [n].
        num_classes: Number of classes.
        sampling: Frequencies of the classes.

    Attributes:
        weights: Proportional to the probability of each class, float64 [num_classes]; 0 for a class
            without images.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        indices: NDArray[np.int64],
        num_classes: int,
        sampling: Sampling,
    ) -> None:
        counts = np.bincount(labels[indices], minlength=num_classes)
        self.weights = np.where(counts, counts ** _EXPONENTS[sampling], 0.0)
        grouped = indices[np.argsort(labels[indices], kind="stable")]
        self._classes = np.split(grouped, np.cumsum(counts)[:-1])
        self._indices, self._is_natural = indices, sampling == "natural"

    def __len__(self) -> int:
        """Number of draws per epoch, n."""
        return len(self._indices)

    def draw(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The images of an epoch from 0, int64 [n], not shuffled; a function of (seed, epoch)."""
        if self._is_natural:
            return self._indices
        # Rounded sums, so that the draws of all classes add up to the number of images.
        ends = np.cumsum(self.weights) * (len(self._indices) / self.weights.sum())
        draws = np.diff(np.round(ends).astype(int), prepend=0).tolist()
        return np.concatenate(
            [
                draw_in_passes(images, count, epoch, seed, (label, _STREAM))
                for label, (images, count) in enumerate(zip(self._classes, draws, strict=True))
            ]
        )

"""Images without labels in the batches of the student, for the teacher's terms of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.data.prepared import PreparedData
from pipeline.errors import ParameterError
from pipeline.params import Distill
from pipeline.training.passes import draw_in_passes

# Part of the seed, so that these random numbers differ from those of the training images' order.
_STREAM = 2


@dataclass(frozen=True)
class UnlabelledImages:
    """Images without labels. In a batch, image j has the number n + j after n training images.

    The numbers identify an image to the teacher and in the random numbers of its views.

    Attributes:
        images: uint8 [m, height, width, channels], memory-mapped.
        used: Indices of the images that are drawn, int64 [k].
        ratio: Images without labels per training image in a batch.
    """

    images: NDArray[np.uint8]
    used: NDArray[np.int64]
    ratio: float

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, labelled: int, steps: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """Draws the images of an epoch, a function of (seed, epoch).

        All images are drawn once, in random order, before one is drawn again. Such a pass over them
        can take several epochs, or part of one.

        Args:
            labelled: Number of training images.
            steps: Number of batches.
            seed: Seed of the order.
            epoch: Epoch, from 0.

        Returns:
            Indices of each batch, int64, sorted; the sizes differ by at most one.
        """
        count = round(self.ratio * labelled)
        drawn = draw_in_passes(self.used, count, epoch, seed, (_STREAM,))
        return [np.sort(batch) for batch in np.array_split(drawn, steps)]


def confident_images(logits: NDArray[np.floating], min_confidence: float) -> NDArray[np.int64]:
    """Images of whose class the teacher is confident.

    The confidence is the largest of the class probabilities, averaged over the views.

    Args:
        logits: The teacher's logits, [K, m, classes].
        min_confidence: Smallest confidence, 0…1.

    Returns:
        Their indices, int64 [k], sorted.
    """
    views, images, classes = logits.shape
    total = np.zeros((images, classes))
    for view in logits:
        total += softmax(view.astype(np.float64), axis=1)
    return np.flatnonzero(total.max(axis=1) >= min_confidence * views)


def open_unlabelled(
    data: PreparedData, recipe: Distill, logits: NDArray[np.floating] | None
) -> UnlabelledImages | None:
    """Opens the images without labels, and selects those of which the teacher is confident.

    Args:
        data: Prepared data.
        recipe: Recipe of the student.
        logits: Cached logits of all training images, [K, n + m, classes]; None if there are none.

    Returns:
        The images; None if there are none. With a ratio of 0, none of them is used.

    Raises:
        ParameterError: The student's loss learns nothing from them, no image is left, or the
            confidence is unknown without cached logits.
        ArtifactError: As ``PreparedData.unlabelled``.
    """
    images = data.unlabelled()
    if not len(images):
        return None
    recipe.check_unlabelled()
    options, used = recipe.unlabelled, np.arange(len(images))
    key = "distill.unlabelled.min_confidence"
    if options.ratio and options.min_confidence:
        threshold = f"{key} = {options.min_confidence:g}"
        if logits is None:
            problem = "needs cached logits, but cache_logits.views is 0"
            raise ParameterError(threshold, problem, f"set that to 1 or more, or {key} to 0")
        used = confident_images(logits[:, -len(images) :], options.min_confidence)
        if not len(used):
            problem = f"leaves out all {len(images)} images without labels"
            raise ParameterError(
                threshold, problem, "lower it, or set distill.unlabelled.ratio to 0"
            )
    return UnlabelledImages(images, used, options.ratio)

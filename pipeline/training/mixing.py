"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899): a batch is mixed with itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ParameterError
from pipeline.losses import Loss, Objective
from pipeline.params import Recipe


@dataclass(frozen=True)
class Mix:
    """How the images of one step are mixed; no pixels yet, so it can be drawn anywhere.

    Attributes:
        batch: int64 [n], the places of the step's images, sorted.
        partners: int64 [n], the place of the image that each is mixed with.
        share: Of each mixed image that is its own, 0…1; the rest is its partner's.
        box: Top, bottom, left and right of the rectangle that is the partner's, in pixels, the
            ends excluded; None where the images are blended.
    """

    batch: NDArray[np.int64]
    partners: NDArray[np.int64]
    share: float
    box: tuple[int, int, int, int] | None = None

    def partners_of(self, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of the partners of some of the images."""
        return self.partners[np.searchsorted(self.batch, part)]

    def blend(self, own: Tensor, partners: Tensor) -> Tensor:
        """The mixed pixels.

        Args:
            own: float32 [n, 3, size, size].
            partners: As many of the partners.
        """
        if self.box is None:
            return self.share * own + (1 - self.share) * partners
        top, bottom, left, right = self.box
        mixed = own.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed


def draw_mix(
    recipe: Recipe, batch: NDArray[np.int64], size: int, moment: Sequence[int]
) -> Mix | None:
    """Draws how a step's images are mixed.

    Args:
        recipe: ``mixup`` and ``cutmix``; with both on, either is as likely.
        batch: int64 [n], the places of all images of the step, sorted.
        size: Side of the images in pixels.
        moment: What the random numbers follow from, such as seed, epoch and step; the same
            numbers give the same mix, whatever was drawn before.

    Returns:
        None when the recipe does not mix.
    """
    ways = [way for way, on in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if on]
    if not ways:
        return None
    random = np.random.default_rng(list(moment))
    way = ways[int(random.integers(len(ways)))]
    alpha = recipe.mixup if way == "mixup" else recipe.cutmix
    share = float(random.beta(alpha, alpha))
    partners = random.permutation(batch)
    if way == "mixup":
        return Mix(batch, partners, share)
    # Any centre is as likely; what falls beyond the border is the image's own again.
    side = size * np.sqrt(1 - share)
    centre = random.uniform(0, size, 2)
    start = np.clip(np.round(centre - side / 2), 0, size).astype(int)
    end = np.clip(np.round(centre + side / 2), 0, size).astype(int)
    (top, left), (bottom, right) = start.tolist(), end.tolist()
    share = 1 - (bottom - top) * (right - left) / size**2
    return Mix(batch, partners, share, (top, bottom, left, right))


def mixed_loss(
    objective: Callable[[Tensor, Tensor, Tensor | None, float], Loss],
    student: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    share: float,
    teacher: Tensor | None,
    epoch: float,
) -> Loss:
    """The loss of a mixed batch: by its images' own labels and by their partners', in shares.

    Args:
        objective: What a step minimises.
        student: [n, classes], logits of the network in training on the mixed pixels.
        labels: int64 [n].
        partner_labels: int64 [n].
        share: Of the images' own.
        teacher: [n, classes], the teacher's logits on the mixed pixels, if it is asked.
        epoch: Epochs done so far, with the fraction of the current one.
    """
    own = objective(student, labels, teacher, epoch)
    other = objective(student, partner_labels, teacher, epoch)
    return Loss(
        share * own.total + (1 - share) * other.total,
        {n: share * part + (1 - share) * other.parts[n] for n, part in own.parts.items()},
    )


def check_mixing(recipe: Recipe, objective: Objective, *, cached: bool) -> None:
    """Refuses to mix where the teacher has answered beforehand: it saw no mixed image.

    Args:
        recipe: ``mixup`` and ``cutmix``.
        objective: What a step minimises.
        cached: The teacher's answers were given before training.

    Raises:
        ParameterError: The recipe mixes, and the objective needs cached answers.
    """
    if not (cached and objective.needs_teacher):
        return
    for way, alpha in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)):
        if alpha:
            raise ParameterError(
                f"{recipe.section}.{way} = {alpha:g}",
                "the logit cache has no answers of the teacher on mixed images",
                "set cache_logits.views to 0, so that the teacher is asked as training goes, or "
                f"set {recipe.section}.{way} to 0",
            )

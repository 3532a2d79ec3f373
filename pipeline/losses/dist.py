"""DIST: knowledge distillation from a stronger teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.distillation import Distillation
from pipeline.losses.objective import Loss
from pipeline.params import DIST

# Relative to the answers: below it, differences are rounding errors of single precision.
_FLAT = 1e-6


class DISTLoss(Distillation):
    """Cross-entropy plus what is missing to a full correlation with the teacher's probabilities.

    "Knowledge Distillation from A Stronger Teacher" (NeurIPS 2022, arXiv 2205.10536): Pearson's
    correlation over the classes of each image, and over the images of the batch for each class,
    with the factor T² of the authors' code.

    Args:
        options: Weights, temperature.
        label_smoothing: Of the cross-entropy.
    """

    def __init__(self, options: DIST, label_smoothing: float = 0.0) -> None:
        super().__init__(options, label_smoothing)
        self.options = options

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        temperature = self.options.temperature
        ours = F.softmax(student / temperature, dim=1)
        theirs = F.softmax(teacher / temperature, dim=1)
        inter = temperature**2 * (1 - _correlation(ours, theirs).mean())
        intra = temperature**2 * (1 - _correlation(ours.T, theirs.T).mean())
        total = self.options.beta * inter + self.options.gamma * intra
        return Loss(total, {"inter": inter.detach(), "intra": intra.detach()})


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each row of ``a`` with that of ``b``; 0 where either is constant.

    A student that starts from zeros gives the same answer to every image. The correlation has no
    gradient there; what rounding makes of it would be 10 million times too large.
    """
    a_centred, b_centred = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    varies = _varies(a_centred, a) & _varies(b_centred, b)
    cosine = F.cosine_similarity(a_centred, b_centred, dim=1)
    return torch.where(varies, cosine, torch.zeros_like(cosine))


def _varies(centered: Tensor, rows: Tensor) -> Tensor:
    spread, size = (torch.linalg.vector_norm(x.detach(), dim=1) for x in (centered, rows))
    varies: Tensor = spread > _FLAT * size
    return varies

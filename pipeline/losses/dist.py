"""DIST: knowledge distillation from a stronger teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat, PositiveFloat

# Deviations below this fraction of the values are rounding errors of float32.
_CONSTANT = 1e-6


@LOSSES.register("dist")
class DISTLoss(DistillationLoss):
    """Cross-entropy plus one minus the Pearson correlation with the teacher's probabilities.

    "Knowledge Distillation from A Stronger Teacher" (NeurIPS 2022, arXiv 2205.10536), with the
    defaults and the factor T² of the authors' code.

    Args:
        weight: Weight of the inter-class and the intra-class relation.
        beta: Weight of the inter-class relation, over the classes of each image.
        gamma: Weight of the intra-class relation, over the images of the batch for each class.
        temperature: Temperature of both softmaxes.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NonNegativeFloat = 1.0,
        label_weight: NonNegativeFloat = 1.0,
        warmup_epochs: NonNegativeFloat = 0.0,
        beta: NonNegativeFloat = 1.0,
        gamma: NonNegativeFloat = 1.0,
        temperature: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.weight = weight
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The two relations, ``inter_class`` and ``intra_class``."""
        p, q = F.softmax(student / self.temperature, 1), F.softmax(teacher / self.temperature, 1)
        scale = self.weight * self.temperature**2
        return {
            "inter_class": scale * self.beta * (1 - _correlation(p, q).mean()),
            "intra_class": scale * self.gamma * (1 - _correlation(p.T, q.T).mean()),
        }


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation [rows] of each row of ``a`` with that of ``b``; 0 for constant rows.

    A student initialized with zeros predicts a constant. The correlation has no gradient there,
    and rounding errors would give one that is 10 million times too large.
    """
    norms = torch.linalg.vector_norm(torch.stack([a, b]).detach(), dim=2)
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    deviations = torch.linalg.vector_norm(torch.stack([a, b]).detach(), dim=2)
    varies = (deviations > _CONSTANT * norms).all(dim=0)
    cosine = F.cosine_similarity(a, b, dim=1)
    return torch.where(varies, cosine, torch.zeros_like(cosine))

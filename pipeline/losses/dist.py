"""DIST: knowledge distillation from a stronger teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES
from pipeline.plugins.section import AboveZero, NotNegative

# Deviations below this fraction of the values are rounding errors of float32.
_CONSTANT = 1e-6


@LOSSES.register("dist")
class DISTLoss(DistillationLoss):
    """Cross-entropy plus one minus the Pearson correlation with the teacher's probabilities.

    "Knowledge Distillation from A Stronger Teacher" (NeurIPS 2022, arXiv 2205.10536), with the
    defaults and the factor T² of the authors' code.

    Args:
        label_smoothing: Label smoothing of the cross-entropy.
        weight: Weight of both relations.
        label_weight: Weight of the cross-entropy.
        warmup_epochs: Epochs over which both relations are scaled up linearly from 0.
        beta: Weight of the inter-class relation, over the classes of each image.
        gamma: Weight of the intra-class relation, over the images of the batch for each class.
        temperature: Temperature of both softmaxes.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NotNegative = 1.0,
        label_weight: NotNegative = 1.0,
        warmup_epochs: NotNegative = 0.0,
        beta: NotNegative = 1.0,
        gamma: NotNegative = 1.0,
        temperature: AboveZero = 1.0,
    ) -> None:
        super().__init__(
            label_smoothing=label_smoothing, label_weight=label_weight, warmup_epochs=warmup_epochs
        )
        self.weight = weight
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature

    def teacher_terms(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """The two relations, ``inter_class`` and ``intra_class``."""
        student = F.softmax(student_logits / self.temperature, dim=1)
        teacher = F.softmax(teacher_logits / self.temperature, dim=1)
        scale = self.weight * self.temperature**2
        return {
            "inter_class": scale * self.beta * (1 - _correlation(student, teacher).mean()),
            "intra_class": scale * self.gamma * (1 - _correlation(student.T, teacher.T).mean()),
        }


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation [rows] of each row of ``a`` with that of ``b``; 0 for constant rows.

    A student initialized with zeros predicts a constant. The correlation has no gradient there,
    and rounding errors would give one that is 10 million times too large.
    """
    a_centered, b_centered = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    varies = _varies(a_centered, a) & _varies(b_centered, b)
    cosine = F.cosine_similarity(a_centered, b_centered, dim=1)
    return torch.where(varies, cosine, torch.zeros_like(cosine))


def _varies(centered: Tensor, rows: Tensor) -> Tensor:
    deviation, norm = (torch.linalg.vector_norm(x.detach(), dim=1) for x in (centered, rows))
    varies: Tensor = deviation > _CONSTANT * norm
    return varies

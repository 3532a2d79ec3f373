"""Decoupled knowledge distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.losses.base import DistillationLoss, kd_divergence
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat, PositiveFloat


@LOSSES.register("dkd")
class DKDLoss(DistillationLoss):
    """Cross-entropy plus the two parts of the KL divergence of KD, with separate weights.

    "Decoupled Knowledge Distillation" (CVPR 2022, arXiv 2203.08679). The KL divergence of KD
    is TCKD (target class against all others) plus NCKD (among the others) multiplied by the
    teacher's total probability of the other classes. The paper trains for 240 epochs.

    Args:
        weight: Weight of the sum of TCKD and NCKD.
        alpha: Weight of the divergence between target class and other classes (TCKD).
        beta: Weight of the divergence among the other classes (NCKD).
        temperature: Temperature of all softmaxes.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NonNegativeFloat = 1.0,
        label_weight: NonNegativeFloat = 1.0,
        warmup_epochs: NonNegativeFloat = 20.0,
        alpha: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 8.0,
        temperature: PositiveFloat = 4.0,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.weight = weight
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The two divergences, ``tckd`` and ``nckd``."""
        t = self.temperature
        pairs = zip(_decouple(student / t, labels), _decouple(teacher / t, labels), strict=True)
        tckd, nckd = (t**2 * kd_divergence(p, q, temperature=1.0) for p, q in pairs)
        return {"tckd": self.weight * self.alpha * tckd, "nckd": self.weight * self.beta * nckd}


def _decouple(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, 2] of the target class and all others combined; [n, classes - 1] of the others."""
    target = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    # `gather` instead of a mask: a constant for masking would have to exceed every logit.
    others = logits.gather(1, columns + (columns >= target))
    pair = torch.cat([logits.gather(1, target), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return pair, others

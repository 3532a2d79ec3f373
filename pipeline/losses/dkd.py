"""Decoupled knowledge distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES
from pipeline.plugins.section import AboveZero, NotNegative


@LOSSES.register("dkd")
class DKDLoss(DistillationLoss):
    """Cross-entropy plus the two parts of KD's divergence, each with a weight of its own.

    "Decoupled Knowledge Distillation" (CVPR 2022, arXiv 2203.08679). KD's divergence is the sum of
    that between target class and all other classes (TCKD), and that among the other classes
    (NCKD) times the teacher's probability of them.

    Args:
        label_smoothing: Label smoothing of the cross-entropy.
        weight: Weight of both parts.
        label_weight: Weight of the cross-entropy.
        warmup_epochs: Epochs over which both parts are scaled up linearly from 0; the paper uses
            20 of 240.
        alpha: Weight of the divergence between target class and other classes (TCKD).
        beta: Weight of the divergence among the other classes (NCKD).
        temperature: Temperature of all softmaxes.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NotNegative = 1.0,
        label_weight: NotNegative = 1.0,
        warmup_epochs: NotNegative = 20.0,
        alpha: NotNegative = 1.0,
        beta: NotNegative = 8.0,
        temperature: AboveZero = 4.0,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.weight = weight
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The two divergences, ``tckd`` and ``nckd``."""
        pairs = zip(
            _decouple(student / self.temperature, labels),
            _decouple(teacher / self.temperature, labels),
            strict=True,
        )
        tckd, nckd = (
            self.temperature**2 * F.kl_div(p, q, log_target=True, reduction="batchmean")
            for p, q in pairs
        )
        return {"tckd": self.weight * self.alpha * tckd, "nckd": self.weight * self.beta * nckd}


def _decouple(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities [n, 2] of target and other classes, and [n, classes - 1] among these."""
    target = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    # Selected instead of masked by a large number, which would have to exceed every logit.
    others = logits.gather(1, columns + (columns >= target))
    pair = torch.cat([logits.gather(1, target), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(pair, dim=1), F.log_softmax(others, dim=1)

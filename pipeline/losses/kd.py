"""Hinton's knowledge distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.normalisation import Normalisation, normalise
from pipeline.losses.objective import Loss, Objective
from pipeline.params import KD


class KDLoss(Objective):
    """Cross-entropy plus the divergence from the teacher's softened probabilities.

    "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), with the usual factor T²;
    on standardised logits it is that of "Logit Standardization in KD" (CVPR 2024).
    """

    needs_teacher = True

    def __init__(self, options: KD, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.options = options
        self.label_smoothing = label_smoothing

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """See ``Objective.forward``."""
        assert teacher is not None  # needs_teacher
        options = self.options
        cross_entropy = F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)
        kind: Normalisation = "standardised" if options.standardised else "none"
        temperature = options.temperature
        divergence = temperature**2 * F.kl_div(
            F.log_softmax(normalise(student, kind) / temperature, dim=-1),
            F.log_softmax(normalise(teacher.to(student.dtype), kind) / temperature, dim=-1),
            log_target=True,
            reduction="batchmean",
        )
        total = options.label_weight * cross_entropy + options.weight * divergence
        parts = {"cross_entropy": cross_entropy.detach(), "divergence": divergence.detach()}
        return Loss(total, parts)

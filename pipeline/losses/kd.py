"""Hinton's knowledge distillation."""

from __future__ import annotations

from torch import Tensor

from pipeline.losses.distillation import Distillation
from pipeline.losses.divergence import softened_divergence
from pipeline.losses.normalization import Normalization, normalize
from pipeline.losses.objective import Loss
from pipeline.params import KD


class KDLoss(Distillation):
    """Cross-entropy plus the divergence from the teacher's softened probabilities.

    "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), with the usual factor T²;
    on standardized logits it is that of "Logit Standardization in KD" (CVPR 2024).

    Args:
        options: Weights, temperature, standardisation.
        label_smoothing: Of the cross-entropy.
    """

    def __init__(self, options: KD, label_smoothing: float = 0.0) -> None:
        super().__init__(options, label_smoothing)
        self.options = options

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        kind: Normalization = "standardized" if self.options.standardized else "none"
        divergence = softened_divergence(
            normalize(student, kind), normalize(teacher, kind), self.options.temperature
        )
        return Loss(divergence, {"divergence": divergence.detach()})

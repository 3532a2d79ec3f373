"""Knowledge distillation (Hinton et al., 2015)."""

from __future__ import annotations

from torch import Tensor

from pipeline.losses.base import DistillationLoss, Normalization, kd_divergence, normalize
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat, PositiveFloat


@LOSSES.register("kd")
class KDLoss(DistillationLoss):
    """Cross-entropy plus the KL divergence from the teacher's softened probabilities.

    "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), with the factor T². With
    ``standardized`` it is "Logit Standardization in Knowledge Distillation" (CVPR 2024).

    Args:
        weight: Weight of the divergence.
        temperature: Temperature of both softmaxes.
        standardized: Standardize the logits of each image first. The paper "Logit Standardization
            in KD" uses temperature 2, weight 9 and label_weight 1.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NonNegativeFloat = 0.9,
        label_weight: NonNegativeFloat = 0.1,
        warmup_epochs: NonNegativeFloat = 0.0,
        temperature: PositiveFloat = 4.0,
        standardized: bool = False,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.weight = weight
        self.temperature = temperature
        self.kind: Normalization = "standardized" if standardized else "none"

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The divergence, ``kd``."""
        student, teacher = normalize(student, self.kind), normalize(teacher, self.kind)
        return {"kd": self.weight * kd_divergence(student, teacher, self.temperature)}

"""Mean squared error of the logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.base import DistillationLoss, Normalization, normalize
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat


@LOSSES.register("logit_mse")
class LogitMSELoss(DistillationLoss):
    """Cross-entropy plus the mean squared error of the logits: FiGKD without a transform.

    Args:
        weight: Weight of the mean squared error.
        centered: Subtract the mean logit of each image first.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: NonNegativeFloat = 0.1,
        label_weight: NonNegativeFloat = 1.0,
        warmup_epochs: NonNegativeFloat = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.weight = weight
        self.kind: Normalization = "centered" if centered else "none"

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The mean squared error, ``mse``."""
        student, teacher = normalize(student, self.kind), normalize(teacher, self.kind)
        return {"mse": self.weight * F.mse_loss(student, teacher)}

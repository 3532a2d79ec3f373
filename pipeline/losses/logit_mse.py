"""Mean squared error of the whole logits: FiGKD without its wavelet."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.normalisation import Normalisation, normalise
from pipeline.losses.objective import Loss, Objective
from pipeline.params import LogitMSE


class LogitMSELoss(Objective):
    """Cross-entropy plus the squared distance of the logits, centred or as they are."""

    needs_teacher = True

    def __init__(self, options: LogitMSE, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.options = options
        self.label_smoothing = label_smoothing

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """See ``Objective.forward``."""
        assert teacher is not None  # needs_teacher
        cross_entropy = F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)
        kind: Normalisation = "centred" if self.options.centred else "none"
        distance = F.mse_loss(normalise(student, kind), normalise(teacher.to(student.dtype), kind))
        parts = {"cross_entropy": cross_entropy.detach(), "mse": distance.detach()}
        return Loss(cross_entropy + self.options.weight * distance, parts)

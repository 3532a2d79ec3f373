"""Labels only: fine-tuning, and the baseline of every comparison."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.objective import Loss, Objective


class CrossEntropy(Objective):
    """Cross-entropy with the labels."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """See ``Objective.forward``; the teacher is not looked at."""
        loss = F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)
        return Loss(loss, {"cross_entropy": loss.detach()})

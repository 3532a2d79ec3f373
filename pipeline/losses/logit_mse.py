"""Mean squared error of the whole logits: FiGKD without its wavelet."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.distillation import Distillation
from pipeline.losses.normalization import Normalization, normalize
from pipeline.losses.objective import Loss
from pipeline.params import LogitMSE


class LogitMSELoss(Distillation):
    """Cross-entropy plus the squared distance of the logits, centered or as they are.

    Args:
        options: Weights, centring.
        label_smoothing: Of the cross-entropy.
    """

    def __init__(self, options: LogitMSE, label_smoothing: float = 0.0) -> None:
        super().__init__(options, label_smoothing)
        self.options = options

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        kind: Normalization = "centered" if self.options.centered else "none"
        distance = F.mse_loss(normalize(student, kind), normalize(teacher, kind))
        return Loss(distance, {"mse": distance.detach()})

"""Cross-entropy with the labels, without a teacher."""

from __future__ import annotations

from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES


@LOSSES.register("cross_entropy")
class CrossEntropy(DistillationLoss):
    """Cross-entropy with the labels, for fine-tuning and as a baseline."""

    needs_teacher = False

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)

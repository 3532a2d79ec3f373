"""Cross-entropy with the labels, without a teacher."""

from __future__ import annotations

from typing import ClassVar

from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES


@LOSSES.register("cross_entropy")
class CrossEntropy(DistillationLoss):
    """Cross-entropy with the labels: fine-tuning, and the baseline of a comparison.

    Args:
        label_smoothing: Label smoothing.
    """

    needs_teacher: ClassVar[bool] = False

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing)

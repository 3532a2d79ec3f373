"""What the methods that learn from a teacher have in common: labels plus a weighted comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.objective import Loss, Objective
from pipeline.params import Transfer


class Distillation(Objective):
    """Cross-entropy with the labels, plus a comparison with the teacher whose weight may rise.

    A method gives ``compare`` alone.

    Args:
        transfer: Weights and warm-up.
        label_smoothing: Of the cross-entropy.
    """

    needs_teacher = True

    def __init__(self, transfer: Transfer, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.transfer = transfer
        self.label_smoothing = label_smoothing

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """See ``Objective.forward``."""
        assert teacher is not None  # needs_teacher
        if student.dtype in (torch.float16, torch.bfloat16):
            student = student.float()  # half precision loses small differences and overflows
        cross_entropy = F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)
        taught = self.compare(student, teacher.to(student.dtype), labels)
        transfer = self.transfer
        warmup = transfer.warmup_epochs
        weight = transfer.weight * (min(1.0, epoch / warmup) if warmup else 1.0)
        # At small batches a step's cost is the number of its operations.
        labelled = cross_entropy
        if transfer.label_weight != 1:
            labelled = transfer.label_weight * cross_entropy
        total = torch.add(labelled, taught.total, alpha=weight)
        return Loss(total, {"cross_entropy": cross_entropy.detach(), **taught.parts})

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """How far the student is from the teacher, before it is weighted.

        Args:
            student: [n, classes], at least single precision.
            teacher: [n, classes], of the same type.
            labels: int64 [n].
        """
        raise NotImplementedError  # every method gives its own

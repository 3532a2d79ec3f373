"""What a training step minimises: one contract for every method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Loss:
    """Attributes:
    total: Scalar to minimise.
    parts: Detached scalars to log, by name.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """Turns a batch's logits into a loss. The training loop never knows the method."""

    needs_teacher: bool = False

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """The loss of one batch.

        Args:
            student: [n, classes], logits of the network in training.
            labels: int64 [n].
            teacher: [n, classes], the teacher's logits on the same pixels; None for an objective
                without a teacher.
            epoch: Epochs done so far, with the fraction of the current one.
        """
        raise NotImplementedError  # every objective gives its own

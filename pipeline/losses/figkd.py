"""FiGKD: fine-grained knowledge distillation by transfer of high-frequency detail.

A reconstruction from the abstract of arXiv 2505.11897; the paper's own equation, wavelet and
weights were not available. The abstract says: logits are decomposed by the discrete wavelet
transform into low-frequency content and high-frequency detail; only the detail is transferred,
since the labels already convey the content. Here:

    loss = cross_entropy(z_s, y) + weight * distance(detail(z_s / T), detail(z_t / T))

with the transform along the class axis. What the abstract leaves open is in ``params.FiGKD``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.normalisation import normalise
from pipeline.losses.objective import Loss, Objective
from pipeline.params import FiGKD
from pipeline.wavelet import ClassAxisDWT


class FiGKDLoss(Objective):
    """Cross-entropy plus the weighted distance between wavelet bands.

    Args:
        options: Wavelet, level, bands, distance, weight and the rest.
        num_classes: Classes of teacher and student.
        class_order: The class at each place of the transform's axis; as they are when None.
        label_smoothing: Of the cross-entropy.

    Raises:
        ParameterError: The wavelet, level or order does not go with the class count.
    """

    needs_teacher = True

    def __init__(
        self,
        options: FiGKD,
        num_classes: int,
        class_order: Sequence[int] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.options = options
        self.label_smoothing = label_smoothing
        self.transform = ClassAxisDWT(
            num_classes, options.wavelet, options.level, options.mode, options.bands, class_order
        )

    def forward(
        self, student: Tensor, labels: Tensor, teacher: Tensor | None, epoch: float
    ) -> Loss:
        """See ``Objective.forward``."""
        assert teacher is not None  # needs_teacher
        cross_entropy = F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)
        detail = self._distance(student, teacher)
        warmup = self.options.warmup_epochs
        weight = self.options.weight * (min(1.0, epoch / warmup) if warmup else 1.0)
        parts = {"cross_entropy": cross_entropy.detach(), "detail": detail.detach()}
        return Loss(cross_entropy + weight * detail, parts)

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        options = self.options
        student = normalise(student, options.normalisation) / options.temperature
        teacher = normalise(teacher.to(student.dtype), options.normalisation) / options.temperature
        if options.distance == "kl":
            return F.kl_div(
                F.log_softmax(self.transform(student), dim=-1),
                F.log_softmax(self.transform(teacher), dim=-1),
                log_target=True,
                reduction="batchmean",
            )
        # The transform is linear: the detail of the difference is the difference of the details.
        difference: Tensor = self.transform(student - teacher)
        return difference.square().mean() if options.distance == "mse" else difference.abs().mean()

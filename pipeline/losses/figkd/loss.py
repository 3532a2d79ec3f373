"""FiGKD: fine-grained knowledge distillation by transfer of high-frequency detail.

A reconstruction from the abstract of arXiv 2505.11897; the paper's own equation, wavelet and
weights were not available. The abstract says: logits are decomposed by the discrete wavelet
transform into low-frequency content and high-frequency detail; only the detail is transferred,
since the labels already convey the content. Here:

    loss = cross_entropy(z_s, y)
           + weight * (distance(detail(z_s / T), detail(z_t / T)) + kd_share * kd(z_s, z_t))

with the transform along the class axis. What the abstract leaves open is in ``params.FiGKD``. The
last term is not in the abstract: it is the divergence of standardized-logit KD (CVPR 2024), which
with the detail beats either alone (docs/results.md); ``kd_share: 0`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.distillation import Distillation
from pipeline.losses.divergence import softened_divergence
from pipeline.losses.figkd.transform import ClassAxisDWT
from pipeline.losses.normalization import normalize
from pipeline.losses.objective import Loss
from pipeline.params import FiGKD


class FiGKDLoss(Distillation):
    """Cross-entropy plus the weighted distance between wavelet bands.

    Args:
        options: Wavelet, level, bands, distance, weights and the rest.
        num_classes: Classes of teacher and student.
        class_order: The class at each place of the transform's axis; as they are when None.
        label_smoothing: Of the cross-entropy.

    Raises:
        ParameterError: The wavelet, level or order does not go with the class count.
    """

    def __init__(
        self,
        options: FiGKD,
        num_classes: int,
        class_order: Sequence[int] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(options, label_smoothing)
        self.options = options
        self.transform = ClassAxisDWT(
            num_classes, options.wavelet, options.level, options.mode, options.bands, class_order
        )

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        options = self.options
        kind = options.normalization
        ours, theirs = normalize(student, kind), normalize(teacher, kind)
        if options.redraw:
            order = torch.randperm(student.shape[-1], device=student.device)
            ours, theirs = ours[:, order], theirs[:, order]
        total = distance = self._distance(ours, theirs)
        parts = {"detail": distance.detach()}
        if options.kd_share:
            divergence = softened_divergence(
                normalize(student, "standardized"),
                normalize(teacher, "standardized"),
                options.kd_temperature,
            )
            total = distance + options.kd_share * divergence
            parts["divergence"] = divergence.detach()
        return Loss(total, parts)

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        temperature = self.options.temperature
        if self.options.distance == "kl":
            return F.kl_div(
                F.log_softmax(self.transform(student) / temperature, dim=-1),
                F.log_softmax(self.transform(teacher) / temperature, dim=-1),
                log_target=True,
                reduction="batchmean",
            )
        # The transform is linear: the detail of the difference is the difference of the details.
        difference = student - teacher
        if self.options.distance == "mse":
            distance = self.transform.mean_square(difference)
            return distance if temperature == 1 else distance / temperature**2
        detail: Tensor = self.transform(difference)
        return detail.abs().mean() / temperature

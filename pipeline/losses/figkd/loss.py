"""FiGKD: fine-grained knowledge distillation by transfer of high-frequency detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses.base import DistillationLoss, Normalization, kd_divergence, normalize
from pipeline.losses.figkd.transform import Bands, ClassAxisDWT, Level, PaddingMode, WaveletName
from pipeline.plugins import LOSSES
from pipeline.plugins.section import NonNegativeFloat, PositiveFloat


@LOSSES.register("figkd")
class FiGKDLoss(DistillationLoss):
    """Cross-entropy, a distance between wavelet bands of the logits, and a KD divergence.

    Implemented from the abstract of FiGKD (arXiv 2505.11897). The equation, wavelet and weights of
    the paper were not available; options replace what the abstract does not specify. The loss is

        label_weight * cross_entropy(z_s, labels)
        + detail_weight * distance(detail(z_s / T), detail(z_t / T))
        + kd_weight * kd(z_s, z_t)

    where ``detail`` is the discrete wavelet transform along the class axis without its
    approximation band. The term ``kd`` is standardized-logit KD (CVPR 2024). It is not in the
    abstract; ``kd_weight=0`` disables it. The defaults come from the comparison in docs/results.md.

    Args:
        num_classes: Number of classes of student and teacher.
        class_order: Class at each position along the transform's axis; 0, 1, ... if None.
        label_smoothing: Label smoothing of the cross-entropy.
        detail_weight: Weight of the distance between the wavelet bands.
        kd_weight: Weight of the KL divergence between standardized logits, as in `kd`; 0 omits it.
        label_weight: Weight of the cross-entropy.
        warmup_epochs: Epochs over which the teacher's terms are scaled up linearly from 0.
        wavelet: Any discrete wavelet of PyWavelets.
        level: Decomposition levels, 1 to the maximum of PyWavelets for this number of classes;
            `max` is that maximum.
        mode: Padding mode of PyWavelets.
        bands: Bands that are compared: the detail bands, the approximation band (`content`), or
            all bands.
        normalization: Normalization of each image's logits before the transform.
        temperature: Temperature that divides the logits before the transform.
        distance: Distance between the bands of student and teacher.
        redraw: Permute the classes randomly in every step, so that all pairs of classes are
            contrasted during training; `class_order` has no effect then.
        kd_temperature: Temperature of the KL divergence.

    Raises:
        ParameterError: Wavelet, level or order do not fit the number of classes.

    Examples:
        >>> import torch
        >>> criterion = FiGKDLoss(num_classes=100, detail_weight=0.15, kd_weight=3.0)
        >>> student_logits = torch.randn(8, 100, requires_grad=True)
        >>> teacher_logits, labels = torch.randn(8, 100), torch.randint(100, (8,))
        >>> loss = criterion(student_logits, teacher_logits, labels)
        >>> loss.backward()
        >>> student_logits.grad.shape
        torch.Size([8, 100])
    """

    def __init__(  # one argument per option
        self,
        num_classes: int,
        *,
        class_order: Sequence[int] | None = None,
        label_smoothing: float = 0.0,
        detail_weight: NonNegativeFloat = 0.15,
        kd_weight: NonNegativeFloat = 3.0,
        label_weight: NonNegativeFloat = 1.0,
        warmup_epochs: NonNegativeFloat = 0.0,
        wavelet: WaveletName = "haar",
        level: Level = 1,
        mode: PaddingMode = "symmetric",
        bands: Bands = "detail",
        normalization: Normalization = "none",
        temperature: PositiveFloat = 1.0,
        distance: Literal["mse", "l1", "kl"] = "mse",
        redraw: bool = False,
        kd_temperature: PositiveFloat = 2.0,
    ) -> None:
        super().__init__(label_smoothing, label_weight, warmup_epochs)
        self.transform = ClassAxisDWT(num_classes, wavelet, level, mode, bands, class_order)
        self.detail_weight = detail_weight
        self.kd_weight = kd_weight
        self.normalization = normalization
        self.temperature = temperature
        self.distance = distance
        self.redraw = redraw
        self.kd_temperature = kd_temperature

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The distance, ``detail``, and the divergence, ``kd``."""
        terms = {"detail": self.detail_weight * self._band_distance(student, teacher)}
        if self.kd_weight:
            student, teacher = (normalize(logits, "standardized") for logits in (student, teacher))
            divergence = kd_divergence(student, teacher, self.kd_temperature)
            terms["kd"] = self.kd_weight * divergence
        return terms

    def _band_distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        student = normalize(student, self.normalization)
        teacher = normalize(teacher, self.normalization)
        if self.redraw:
            order = torch.randperm(student.shape[-1], device=student.device)
            student, teacher = student[:, order], teacher[:, order]
        if self.distance == "kl":
            t = self.temperature
            student, teacher = self.transform(student) / t, self.transform(teacher) / t
            return kd_divergence(student, teacher, temperature=1.0)
        # The transform is linear, so one transform of the difference is enough.
        difference: Tensor = self.transform(student - teacher)
        if self.distance == "mse":
            return difference.square().mean() / self.temperature**2
        return difference.abs().mean() / self.temperature

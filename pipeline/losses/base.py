"""Base class of the losses, and two functions of logits that several losses use."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Normalization = Literal["none", "centered", "standardized"]


class DistillationLoss(nn.Module):
    """Cross-entropy with the labels plus weighted terms that compare student and teacher.

    A subclass implements ``teacher_terms`` and registers itself in ``pipeline.plugins.LOSSES``.
    The keyword-only arguments of its ``__init__`` become the parameters ``distill.<name>.*``,
    except ``label_smoothing`` and ``class_order``, which ``build_loss`` supplies.

    Args:
        label_smoothing: Label smoothing of the cross-entropy.
        label_weight: Weight of the cross-entropy.
        warmup_epochs: Epochs over which the teacher's terms are scaled up linearly from 0.

    Attributes:
        label_offsets: Added to the student's logits in the cross-entropy only, float32 [classes];
            None adds nothing. See ``pipeline.losses.logit_adjustment``.
        needs_teacher: Whether there are terms that compare student and teacher.
        needs_labels: Whether these terms depend on the labels of the images.
    """

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    label_offsets: Tensor | None

    def __init__(
        self, label_smoothing: float = 0.0, label_weight: float = 1.0, warmup_epochs: float = 0.0
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.label_weight = label_weight
        self.warmup_epochs = warmup_epochs
        # Not persistent: it follows from the recipe and the labels, so no checkpoint contains it.
        self.register_buffer("label_offsets", None, persistent=False)

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        """The sum of ``terms``, a scalar."""
        return reduce(torch.add, self.terms(student_logits, teacher_logits, labels).values())

    def terms(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None,
        labels: Tensor,
        teacher_scale: float = 1.0,
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss by name; their sum is the loss.

        Args:
            student_logits: [n, classes]; half precision is converted to float32.
            teacher_logits: [n, classes]; unused and possibly None if ``needs_teacher`` is False.
            labels: int64 [k], of the first k images; the others, if any, have no labels.
            teacher_scale: Factor of the teacher's terms, see the method ``teacher_scale``.

        Returns:
            Scalars, ``cross_entropy`` first.

        Raises:
            TypeError: The loss needs a teacher and ``teacher_logits`` is None.
        """
        logits = student_logits
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        terms = {"cross_entropy": self.label_weight * self._cross_entropy(logits, labels)}
        if self.needs_teacher:
            if teacher_logits is None:
                raise TypeError(f"{type(self).__name__} needs teacher_logits, got None")
            teacher = teacher_logits.to(logits.dtype)
            for name, term in self.teacher_terms(logits, teacher, labels).items():
                terms[name] = teacher_scale * term
        return terms

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits[: len(labels)]
        if self.label_offsets is not None:
            logits = logits + self.label_offsets.to(logits.dtype)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def teacher_terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The weighted terms that compare student and teacher, by name, before the warm-up.

        Both are logits [n, classes] of the same dtype, float32 or float64; labels are int64 [n], or
        fewer if the last images have no labels and ``needs_labels`` is False.
        """
        raise NotImplementedError

    def teacher_scale(self, epoch: float) -> float:
        """Warm-up factor of the teacher's terms, 0 to 1, after ``epoch`` epochs."""
        return min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0


def normalize(logits: Tensor, kind: Normalization) -> Tensor:
    """Subtracts the mean of each row; ``standardized`` also divides by the standard deviation.

    Standardization follows "Logit Standardization in Knowledge Distillation" (CVPR 2024).
    """
    if kind == "none":
        return logits
    centered = logits - logits.mean(dim=-1, keepdim=True)
    if kind == "centered":
        return centered
    variance = centered.square().mean(dim=-1, keepdim=True)
    # The epsilon keeps the value and the gradient finite if all logits of a row are equal.
    return centered / (variance + 1e-7).sqrt()


def kd_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL divergence of the softmaxes at temperature T, times T², averaged over the batch.

    The factor T² keeps the scale of the gradient when T changes (arXiv 1503.02531).
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )

"""Decoupled knowledge distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.losses.distillation import Distillation
from pipeline.losses.objective import Loss
from pipeline.params import DKD


class DKDLoss(Distillation):
    """Cross-entropy plus KD's divergence, taken apart and weighted anew.

    "Decoupled Knowledge Distillation" (CVPR 2022, arXiv 2203.08679). KD's divergence is that of
    the two answers "the labelled class" and "another class", plus that among the other classes
    times the probability that the teacher gives to them. Here the two have weights of their own.

    Args:
        options: Weights, temperature.
        label_smoothing: Of the cross-entropy.
    """

    def __init__(self, options: DKD, label_smoothing: float = 0.0) -> None:
        super().__init__(options, label_smoothing)
        self.options = options

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Loss:
        """See ``Distillation.compare``."""
        temperature = self.options.temperature
        of_student = _take_apart(student / temperature, labels)
        of_teacher = _take_apart(teacher / temperature, labels)
        target, others = (
            temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")
            for ours, theirs in zip(of_student, of_teacher, strict=True)
        )
        total = self.options.alpha * target + self.options.beta * others
        return Loss(total, {"target": target.detach(), "others": others.detach()})


def _take_apart(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities [n, 2] of the label or another class, and [n, classes - 1] among those."""
    at_label = labels[:, None]
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    # Selected rather than masked by a large number, which would have to outweigh any logit.
    others = logits.gather(1, places + (places >= at_label))
    pair = torch.cat([logits.gather(1, at_label), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(pair, dim=1), F.log_softmax(others, dim=1)

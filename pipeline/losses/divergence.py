"""How far the decisions of a student are from its teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the softmaxes at a temperature T, times T², batch mean.

    The factor keeps the gradient's size as T changes ("Distilling the Knowledge in a Neural
    Network", arXiv 1503.02531).

    Args:
        student: [n, classes].
        teacher: [n, classes], of the same type.
        temperature: T, above 0.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )


def decision_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence between decisions for one of two sides, of which the values are the log odds.

    With p the teacher's and q the student's probability of the one side, it is
    p log(p / q) + (1 - p) log((1 - p) / (1 - q)), times T², mean over all values. Where both are
    sure of the same side nothing is left to transfer, however far apart their values are.

    Args:
        student: [...], such as detail coefficients.
        teacher: [...], of the same shape and type.
        temperature: T, above 0; the values are divided by it first.
    """
    ours, theirs = student / temperature, teacher / temperature
    gap = torch.sigmoid(theirs) * (theirs - ours) + F.softplus(ours) - F.softplus(theirs)
    return temperature**2 * gap.mean()

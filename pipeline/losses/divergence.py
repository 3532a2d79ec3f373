"""How far a student's softened probabilities are from its teacher's."""

from __future__ import annotations

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

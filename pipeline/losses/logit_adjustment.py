"""Logit adjustment for training splits whose classes have different numbers of images."""

from __future__ import annotations

from torch import Tensor


def label_offsets(class_counts: Tensor, tau: float) -> Tensor | None:
    """The offsets of the logits in the cross-entropy: ``tau`` times the log of the class prior.

    This is the logit-adjusted loss of "Long-tail learning via logit adjustment" (Menon et al., ICLR
    2021, arXiv 2007.07314). The network learns logits without the offsets. For tau = 1 their
    softmax is that of equally frequent classes, so the largest one minimizes the balanced error.

    Args:
        class_counts: Number of training images per class, or any multiple of it, [classes]. A
            class without images counts as one of the smallest class that has some.
        tau: Strength of the adjustment, 0 or more.

    Returns:
        float32 [classes]; None if ``tau`` is 0.
    """
    if not tau:
        return None
    counts = class_counts.double()
    counts = counts.clamp(min=counts[counts > 0].min())
    return (tau * (counts / counts.sum()).log()).float()

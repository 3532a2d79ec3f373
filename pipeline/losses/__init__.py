"""The objectives, each a parameter away."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.losses.cross_entropy import CrossEntropy
from pipeline.losses.dist import DISTLoss
from pipeline.losses.dkd import DKDLoss
from pipeline.losses.figkd.loss import FiGKDLoss
from pipeline.losses.kd import KDLoss
from pipeline.losses.logit_mse import LogitMSELoss
from pipeline.losses.objective import Loss, Objective
from pipeline.params import Distill

__all__ = [
    "CrossEntropy",
    "DISTLoss",
    "DKDLoss",
    "FiGKDLoss",
    "KDLoss",
    "LogitMSELoss",
    "Loss",
    "Objective",
    "build",
]


def build(distill: Distill, num_classes: int, class_order: Sequence[int]) -> Objective:
    """The objective that ``distill.method`` names.

    Args:
        distill: The parameters.
        num_classes: Classes of teacher and student.
        class_order: The class at each place of the wavelet transform's axis.

    Raises:
        ParameterError: The method cannot work with this many classes.
    """
    smoothing = distill.label_smoothing
    if distill.method == "figkd":
        return FiGKDLoss(distill.figkd, num_classes, class_order, smoothing)
    if distill.method == "kd":
        return KDLoss(distill.kd, smoothing)
    if distill.method == "dkd":
        return DKDLoss(distill.dkd, smoothing)
    if distill.method == "dist":
        return DISTLoss(distill.dist, smoothing)
    if distill.method == "logit_mse":
        return LogitMSELoss(distill.logit_mse, smoothing)
    return CrossEntropy(smoothing)

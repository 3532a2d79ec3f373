"""Training losses: one file per method, registered in ``pipeline.plugins.LOSSES``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from pipeline.losses.base import DistillationLoss
from pipeline.losses.cross_entropy import CrossEntropy
from pipeline.losses.dist import DISTLoss
from pipeline.losses.dkd import DKDLoss
from pipeline.losses.figkd.loss import FiGKDLoss
from pipeline.losses.kd import KDLoss
from pipeline.losses.logit_mse import LogitMSELoss
from pipeline.plugins import LOSSES
from pipeline.plugins.section import Section

__all__ = [
    "CrossEntropy",
    "DISTLoss",
    "DKDLoss",
    "DistillationLoss",
    "FiGKDLoss",
    "KDLoss",
    "LogitMSELoss",
    "build_loss",
]


def build_loss(
    method: str,
    options: Section,
    *,
    num_classes: int,
    class_order: Sequence[int] | None,
    label_smoothing: float,
) -> DistillationLoss:
    """Builds the loss registered under ``method``.

    Args:
        method: Name in ``pipeline.plugins.LOSSES``.
        options: Values of the method's parameters, ``distill.loss_options``.
        num_classes: Number of classes.
        class_order: Class at each position along the transform's axis; 0, 1, ... if None.
        label_smoothing: Label smoothing of the cross-entropy.

    Raises:
        ParameterError: The method is unknown, or does not work with this number of classes.
    """
    loss = LOSSES[method]
    accepted = inspect.signature(loss).parameters
    given = {
        "num_classes": num_classes,
        "class_order": class_order,
        "label_smoothing": label_smoothing,
    }
    # A loss names only those of the three that it uses.
    supplied = {name: value for name, value in given.items() if name in accepted}
    built: DistillationLoss = loss(**supplied, **dict(options))
    return built

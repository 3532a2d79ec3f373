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
from pipeline.params import Distill
from pipeline.plugins import LOSSES

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
    recipe: Distill, num_classes: int, class_order: Sequence[int] | None = None
) -> DistillationLoss:
    """Builds the loss ``recipe.method`` with its options.

    Args:
        recipe: Section ``distill`` of the parameters.
        num_classes: Number of classes.
        class_order: Class at each position along the transform's axis; 0, 1, ... if None.

    Raises:
        ParameterError: The method is unknown, or does not work with this number of classes.
    """
    loss = LOSSES[recipe.method]
    arguments: dict[str, object] = {"num_classes": num_classes, "class_order": class_order}
    arguments["label_smoothing"] = recipe.label_smoothing
    # A loss accepts only the arguments that it uses.
    arguments = {k: v for k, v in arguments.items() if k in inspect.signature(loss).parameters}
    built: DistillationLoss = loss(**arguments, **dict(recipe.loss_options))
    return built

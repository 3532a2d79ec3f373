"""Builds the loss that the parameters name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from pipeline.losses.base import DistillationLoss
from pipeline.params import Distill
from pipeline.plugins import LOSSES


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

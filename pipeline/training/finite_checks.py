"""Errors that name the first non-finite tensor of a failed training step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.params import Recipe

LOWER_LR = "lower the learning rate or the weights of the distillation loss"
_IMAGES_SHOWN = 8


def non_finite_error(
    step: str,
    loss: float,
    model: nn.Module,
    logits: Mapping[str, Tensor],
    batch: NDArray[np.int64],
    view: int,
    teacher_fix: str,
) -> TrainingError:
    """The error of a loss that is not finite, with its first cause.

    Args:
        step: Name of the step.
        loss: Value of the loss.
        model: The model in training.
        logits: Logits [n, classes] of the ``teacher``, if there is one, and of the model.
        batch: Indices of the images, int64 [n].
        view: Index of the view.
        teacher_fix: Remedy for teacher logits that are not finite.
    """
    problem = f"the loss is {loss}"
    bad = {
        who: batch[~torch.isfinite(values).all(dim=1).cpu().numpy()]
        for who, values in logits.items()
    }
    weight = _non_finite_weight(model)
    # The teacher's logits come first: nothing in the student can affect them.
    for who, indices in bad.items():
        if who != "teacher" and weight:
            return TrainingError(step, f"{problem}: {weight} is not finite", LOWER_LR)
        if len(indices):
            problem += f": the {who}'s logits on view {view} of images {_join(indices)} are not "
            return TrainingError(
                step, problem + "finite", teacher_fix if who == "teacher" else LOWER_LR
            )
    problem += f", although all logits are finite; images {_join(batch)}"
    return TrainingError(step, problem, LOWER_LR)


def check_weights(model: nn.Module, step: str) -> None:
    """Ensures that a model is fit for a checkpoint.

    Raises:
        TrainingError: A parameter or buffer is not finite.
    """
    if name := _non_finite_weight(model):
        raise TrainingError(step, f"{name} is not finite", LOWER_LR)


def _non_finite_weight(model: nn.Module) -> str | None:
    """The first non-finite parameter, else the first non-finite buffer, else None."""
    for kind, named in (
        ("parameter", model.named_parameters()),
        ("buffer", model.named_buffers()),
    ):
        for name, tensor in named:
            if not torch.isfinite(tensor).all():
                return f"the {kind} {name}"
    return None


def out_of_memory_error(
    recipe: Recipe, device: torch.device, error: torch.OutOfMemoryError
) -> TrainingError:
    """Names the parameters to change, with their section."""
    return TrainingError(
        f"{recipe.section}.batch_size = {recipe.batch_size}",
        f"a step does not fit in the memory of {device} ({str(error).split('. ')[0]})",
        f"lower it, or raise {recipe.section}.accumulate = {recipe.accumulate}",
    )


def _join(indices: NDArray[np.int64]) -> str:
    more = len(indices) - _IMAGES_SHOWN
    shown = ", ".join(map(str, indices[:_IMAGES_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown

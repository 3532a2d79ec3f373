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

    ``logits`` has those of the ``teacher``, if there is one, and those of the model.
    """
    problem, weight = f"the loss is {loss}", _non_finite_weight(model)
    # The teacher's logits come first: nothing in the student can affect them.
    for who, values in logits.items():
        fix = teacher_fix if who == "teacher" else LOWER_LR
        if who != "teacher" and weight:
            return TrainingError(step, f"{problem}: {weight} is not finite", fix)
        if len(bad := batch[~torch.isfinite(values).all(dim=1).cpu().numpy()]):
            images = f"view {view} of images {_join(bad)}"
            problem += f": the {who}'s logits on {images} are not finite"
            return TrainingError(step, problem, fix)
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
    named = {f"the parameter {name}": tensor.data for name, tensor in model.named_parameters()}
    named |= {f"the buffer {name}": tensor for name, tensor in model.named_buffers()}
    return next((name for name, tensor in named.items() if not tensor.isfinite().all()), None)


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

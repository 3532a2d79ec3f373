"""Errors that name the first non-finite tensor of a failed training step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import TrainingError

LOWER_LR = "lower the learning rate or the weights of the distillation loss"
_MAX_LISTED = 8


def non_finite_error(
    step: str,
    loss: float,
    model: nn.Module,
    logits: Mapping[str, Tensor],
    batch: NDArray[np.int64],
    view: int,
    teacher_fix: str,
) -> TrainingError:
    """The error for a non-finite loss, with its cause.

    ``logits`` contains those of the ``teacher`` first, if there is one, then those of the model.
    """
    problem, weight = f"the loss is {loss}", _non_finite_weight(model)
    # In this order, because the student cannot affect the teacher's logits.
    for name, values in logits.items():
        fix = teacher_fix if name == "teacher" else LOWER_LR
        if name != "teacher" and weight:
            return TrainingError(step, f"{problem}: {weight} is not finite", fix)
        if len(bad := batch[~torch.isfinite(values).all(dim=1).cpu().numpy()]):
            problem += f": the {name}'s logits for view {view} of images {_join(bad)}"
            return TrainingError(step, f"{problem} are not finite", fix)
    problem += f", although all logits are finite; images {_join(batch)}"
    return TrainingError(step, problem, LOWER_LR)


def check_weights(model: nn.Module, step: str) -> None:
    """Checks that all parameters and buffers are finite.

    Raises:
        TrainingError: A parameter or buffer is not finite; the message names ``step``.
    """
    if name := _non_finite_weight(model):
        raise TrainingError(step, f"{name} is not finite", LOWER_LR)


def _non_finite_weight(model: nn.Module) -> str | None:
    """The first non-finite parameter, else the first non-finite buffer, else None."""
    named = {f"the parameter {name}": tensor.data for name, tensor in model.named_parameters()}
    named |= {f"the buffer {name}": tensor for name, tensor in model.named_buffers()}
    return next((name for name, tensor in named.items() if not tensor.isfinite().all()), None)


def _join(indices: NDArray[np.int64]) -> str:
    more = len(indices) - _MAX_LISTED
    listed = ", ".join(map(str, indices[:_MAX_LISTED]))
    return f"{listed} and {more} more" if more > 0 else listed

"""Errors that name the first non-finite tensor of a failed training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.errors import TrainingError
from pipeline.transfers import to_host

LOWER_LR = "lower the learning rate or the weights of the distillation loss"
_MAX_LISTED = 8


@dataclass(frozen=True)
class NonFinite:
    """A loss that is not finite.

    Attributes:
        step: Name of the training step.
        loss: The loss.
        finite: Whether all logits of an image are finite, bool [n]: of the ``teacher`` first, if
            there is one, then of the model.
        images: Numbers of the images, int64 [n].
        view: View number.
        is_latest: Whether the weights are still those that the loss was computed with.
    """

    step: str
    loss: float
    finite: Mapping[str, NDArray[np.bool_]]
    images: NDArray[np.int64]
    view: int
    is_latest: bool


def non_finite_error(found: NonFinite, model: nn.Module, teacher_fix: str) -> TrainingError:
    """The error for a non-finite loss, with its cause."""
    problem, weight = f"the loss is {found.loss}", _non_finite_weight(model)
    # In this order, because the student cannot affect the teacher's logits.
    for name, finite in found.finite.items():
        fix = teacher_fix if name == "teacher" else LOWER_LR
        if name != "teacher" and weight and found.is_latest:
            return TrainingError(found.step, f"{problem}: {weight} is not finite", fix)
        if len(bad := found.images[~finite]):
            problem += f": the {name}'s logits for view {found.view} of images {_join(bad)}"
            problem += " are not finite"
            if name != "teacher" and weight:
                problem += f", and {weight} is not finite now"
            return TrainingError(found.step, problem, fix)
    problem += f", although all logits are finite; images {_join(found.images)}"
    return TrainingError(found.step, problem, LOWER_LR)


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
    if not named:
        return None
    # One read, since each of them waits for a GPU.
    finite = to_host(torch.stack([tensor.isfinite().all() for tensor in named.values()]))
    return next(
        (name for name, is_finite in zip(named, finite, strict=True) if not is_finite), None
    )


def _join(indices: NDArray[np.int64]) -> str:
    more = len(indices) - _MAX_LISTED
    listed = ", ".join(map(str, indices[:_MAX_LISTED]))
    return f"{listed} and {more} more" if more > 0 else listed

"""What went bad first, when training does."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.params import Recipe

CALM_DOWN = "lower the learning rate or the weight of the distillation"
_IMAGES_SHOWN = 8


def not_finite(
    moment: str,
    model: nn.Module,
    loss: float,
    logits: Tensor,
    answers: Tensor | None,
    view: int,
    batch: NDArray[np.int64],
    teacher_remedy: str,
) -> TrainingError:
    """Says what went bad first, and on which images; looked for only once it happened."""
    problem = f"the loss is {loss}"

    def bad_images(said: Tensor) -> NDArray[np.int64]:
        whole: NDArray[np.bool_] = torch.isfinite(said).all(dim=1).cpu().numpy()
        return batch[~whole]

    # The teacher comes first: its answers were there before, and no student can spoil them.
    if answers is not None and len(bad := bad_images(answers)):
        problem += f": the teacher's logits on view {view} of images {_some(bad)} are not finite"
        return TrainingError(moment, problem, teacher_remedy)
    if name := _bad_weight(model):
        return TrainingError(moment, f"{problem}: {name} is not finite", CALM_DOWN)
    if len(bad := bad_images(logits)):
        who = "network" if answers is None else "student"
        problem += f": the {who}'s logits on view {view} of images {_some(bad)} are not finite"
        return TrainingError(moment, problem, CALM_DOWN)
    problem += f", though all logits are finite; images {_some(batch)}"
    return TrainingError(moment, problem, CALM_DOWN)


def check_weights(model: nn.Module, moment: str) -> None:
    """Keeps a network that went bad out of the checkpoint.

    Raises:
        TrainingError: A parameter or statistic is not finite.
    """
    if name := _bad_weight(model):
        raise TrainingError(moment, f"{name} is not finite", CALM_DOWN)


def _bad_weight(model: nn.Module) -> str | None:
    """The first parameter that is not finite, or else the first statistic, or else None."""
    for kind, named in (
        ("parameter", model.named_parameters()),
        ("statistic", model.named_buffers()),
    ):
        for name, tensor in named:
            if not torch.isfinite(tensor).all():
                return f"the {kind} {name}"
    return None


def out_of_memory(
    recipe: Recipe, device: torch.device, error: torch.OutOfMemoryError
) -> TrainingError:
    """Names the parameter to lower, by its section."""
    said = str(error).split(". ")[0]
    return TrainingError(
        f"{recipe.section}.batch_size = {recipe.batch_size}",
        f"a step does not fit into the memory of {device} ({said})",
        f"lower it, or raise {recipe.section}.accumulate = {recipe.accumulate}",
    )


def _some(places: NDArray[np.int64]) -> str:
    more = len(places) - _IMAGES_SHOWN
    shown = ", ".join(map(str, places[:_IMAGES_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown

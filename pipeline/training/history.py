"""What the epochs of a training came to."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.params import Recipe


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean over the images.
        parts: Means of the loss's parts, by name.
        val_accuracy: Share of the validation images, in 0…1.
    """

    epoch: int
    loss: float
    parts: dict[str, float]
    val_accuracy: float


def kept_epoch(history: list[Epoch], recipe: Recipe) -> Epoch:
    """The epoch whose weights a recipe keeps; the earlier one on a tie."""
    return history[-1] if recipe.keep == "last" else _best(history)


def has_settled(history: list[Epoch], recipe: Recipe) -> bool:
    """Whether a recipe's patience has run out."""
    if not (recipe.patience and history):
        return False
    return history[-1].epoch - _best(history).epoch >= recipe.patience


def _best(history: list[Epoch]) -> Epoch:
    return max(history, key=lambda done: done.val_accuracy)

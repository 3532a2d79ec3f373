"""Which layers of a network learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier


def learn_all(model: Classifier) -> None:
    """Lets every layer learn, and puts the network into training mode."""
    model.requires_grad_(True)
    model.train()


def learn_head(model: Classifier) -> None:
    """Lets the classifier layer learn; the statistics of the other layers stay as well.

    Raises:
        ParameterError: The network has no classifier layer with weights.
    """
    find = cast("Callable[[], nn.Module] | None", getattr(model.backbone, "get_classifier", None))
    head = find() if find else nn.Identity()
    if not list(head.parameters()):
        raise ParameterError(
            f"model {model.spec.architecture!r}",
            "has no classifier layer that could learn alone",
            "set finetune.freeze_epochs to 0",
        )
    model.requires_grad_(False)
    model.eval()
    head.requires_grad_(True)
    head.train()

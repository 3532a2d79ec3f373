"""The classifier layer of a network, as weights to compare classes by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, load_classifier


def read_head_weights(folder: Path) -> NDArray[np.float32]:
    """Weights float32 [classes, features] of the classifier layer of a saved network.

    Args:
        folder: What ``save_classifier`` wrote.

    Raises:
        ArtefactError: A file is missing or truncated.
        ParameterError: The network has no linear classifier layer.
    """
    model, _ = load_classifier(folder, torch.device("cpu"))
    return head_weights(model)


def head_weights(model: Classifier) -> NDArray[np.float32]:
    """Weights float32 [classes, features] of a network's linear classifier layer.

    Raises:
        ParameterError: It has none: its last layer is a convolution, several layers, or nothing.
    """
    find = cast("Callable[[], object] | None", getattr(model.backbone, "get_classifier", None))
    layer = find() if find else None
    if not isinstance(layer, nn.Linear):
        raise ParameterError(
            f"model {model.spec.architecture!r}",
            f"has no linear classifier layer (timm gives {type(layer).__name__})",
            "set distill.class_order.similarity to logits",
        )
    return layer.weight.detach().float().cpu().numpy()

"""Losses that stay on the device until the host reads several at once.

Reading a value waits until a GPU has done all work before it. The GPU then idles while the host
prepares the next step, so losses are read, and checked to be finite, every few steps only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.training.finite_checks import NonFinite, non_finite_error
from pipeline.transfers import to_host


@dataclass(frozen=True)
class MicroBatch:
    """The losses of a forward pass.

    Attributes:
        step: Name of the training step, for messages.
        names: Names of the values; the first one is ``loss``, the sum of the others.
        values: Scalars [k], on the device.
        finite: Whether all logits of an image are finite, bool [n] on the device: of the
            ``teacher`` first, if there is one, then of the model.
        labelled: Number of images with labels, over which the values are means.
        images: Numbers of the images, int64 [n].
        view: View number.
    """

    step: str
    names: tuple[str, ...]
    values: Tensor
    finite: Mapping[str, Tensor]
    labelled: int
    images: NDArray[np.int64]
    view: int


@dataclass
class PendingLosses:
    """The losses of the latest forward passes, which the host has not read yet.

    Attributes:
        model: The model, for messages.
        teacher_fix: What to do if a logit of the teacher is not finite.
    """

    model: nn.Module
    teacher_fix: str
    _passes: list[MicroBatch] = field(default_factory=list)

    def add(self, losses: MicroBatch) -> None:
        """Adds the losses of a forward pass, without waiting for them."""
        self._passes.append(losses)

    def read(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Reads all losses in one transfer, and adds each to the sum of its name.

        Returns:
            The new sums over the images with labels.

        Raises:
            TrainingError: A loss is not finite; the message names the first step with one.
        """
        passes, self._passes = self._passes, []
        added = dict(sums)
        if not passes:
            return added
        read = iter(to_host(torch.cat([each.values for each in passes])).tolist())
        for each in passes:
            values = dict(zip(each.names, read, strict=False))
            if not math.isfinite(values["loss"]):
                found = NonFinite(
                    step=each.step,
                    loss=values["loss"],
                    finite={name: to_host(mask) for name, mask in each.finite.items()},
                    images=each.images,
                    view=each.view,
                    is_latest=each is passes[-1],
                )
                raise non_finite_error(found, self.model, self.teacher_fix)
            for name, value in values.items():
                added[name] = added.get(name, 0.0) + value * each.labelled
        return added

"""Exponential moving average (EMA) of the weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from typing_extensions import override


class AveragedWeights(AveragedModel):
    """The EMA of parameters and buffers.

    The update differs from torch's in one point: it does not copy the number of updates to the GPU,
    for which the host would wait in every step.

    Args:
        model: Model to copy; the average begins with its weights at the first update.
        decay: Weight of the previous average in an update, 0…1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @override
    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        first = bool(self.n_averaged == 0)  # a tensor on the CPU
        by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, value in zip(_tensors(self.module), _tensors(model), strict=True):
            if first:
                average.copy_(value)
            averages, values = by_dtype.setdefault(average.dtype, ([], []))
            averages.append(average)
            values.append(value)
        if not first:
            for averages, values in by_dtype.values():
                self._average(averages, values, None)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> chain[Tensor]:
    return chain(model.parameters(), model.buffers())

"""The discrete wavelet transform of logits along the class axis.

The transform is linear whatever the wavelet, padding mode and level, so PyWavelets builds it once
as a matrix, by transforming the identity; torch then applies it as one matrix product, with
gradients, on any device. A permutation of the classes is a permutation of the matrix's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import ParameterError

Bands = Literal["detail", "content", "all"]


class ClassAxisDWT(nn.Module):
    """Wavelet coefficients of logits.

    Args:
        num_classes: Length of the class axis, 2 or more.
        wavelet: A discrete wavelet of PyWavelets.
        level: Levels of the decomposition, from 1 to ``max_level(num_classes, wavelet)``.
        mode: Padding mode of PyWavelets.
        bands: ``detail`` drops the approximation band, ``content`` keeps only it, ``all`` keeps
            everything.
        order: The class that stands at each place of the axis; as they are when None.

    Raises:
        ParameterError: The wavelet or mode is unknown, the level is deeper than the class count
            allows, or ``order`` is no permutation.
    """

    matrix: Tensor

    def __init__(
        self,
        num_classes: int,
        wavelet: str = "haar",
        level: int = 1,
        mode: str = "symmetric",
        bands: Bands = "detail",
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        deepest = max_level(num_classes, wavelet)
        if not 1 <= level <= deepest:
            raise ParameterError(
                f"wavelet level {level}",
                f"{num_classes} classes allow 1 to {deepest} for {wavelet}"
                if deepest
                else f"{num_classes} classes are too few for {wavelet} at any level",
                "lower distill.figkd.level or take a shorter wavelet (haar)",
            )
        if mode not in pywt.Modes.modes:
            raise ParameterError(
                f"padding mode {mode!r}", f"PyWavelets has {', '.join(pywt.Modes.modes)}"
            )
        coefficients = pywt.wavedec(np.eye(num_classes), wavelet, mode=mode, level=level, axis=1)
        self.band_names = _kept_names(level, bands)
        self.band_sizes = tuple(
            coefficients[_position(name, level)].shape[1] for name in self.band_names
        )
        rows = np.concatenate(
            [coefficients[_position(name, level)] for name in self.band_names], axis=1
        )
        matrix = np.empty_like(rows)
        matrix[_checked_order(order, num_classes)] = rows
        # Kept aside: a float64 buffer could not move to MPS, and a cast one would lose its digits.
        self._exact = torch.from_numpy(matrix)
        self.register_buffer("matrix", self._exact.float(), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """The kept coefficients, coarsest band first.

        Args:
            logits: [..., num_classes], of any floating dtype.

        Returns:
            [..., sum(band_sizes)], float64 for float64 logits and float32 for all others, since
            half precision would lose the differences that the detail consists of.
        """
        wide = logits.dtype == torch.float64
        matrix = self._exact.to(logits.device) if wide else self.matrix
        with torch.autocast(logits.device.type, enabled=False):
            return logits.to(matrix.dtype) @ matrix

    def split(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Cuts what ``forward`` returned into its bands, by name (``content``, ``detail3``, …)."""
        parts = torch.split(coefficients, list(self.band_sizes), dim=-1)
        return dict(zip(self.band_names, parts, strict=True))


def max_level(num_classes: int, wavelet: str) -> int:
    """The deepest level that PyWavelets allows for this many classes; 0 when there is none.

    Raises:
        ParameterError: PyWavelets has no discrete wavelet of that name.
    """
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ParameterError(
            f"wavelet {wavelet!r}", "is no discrete wavelet of PyWavelets", "try haar or db2"
        )
    return int(pywt.dwt_max_level(num_classes, pywt.Wavelet(wavelet).dec_len))


def _kept_names(level: int, bands: Bands) -> tuple[str, ...]:
    details = tuple(f"detail{k}" for k in range(level, 0, -1))
    return {"detail": details, "content": ("content",), "all": ("content", *details)}[bands]


def _position(name: str, level: int) -> int:
    """Place in the list of ``pywt.wavedec``: the content, then details from coarse to fine."""
    return 0 if name == "content" else 1 + level - int(name.removeprefix("detail"))


def _checked_order(order: Sequence[int] | None, num_classes: int) -> NDArray[np.int64]:
    if order is None:
        return np.arange(num_classes)
    array = np.asarray(order, dtype=np.int64)
    if not np.array_equal(np.sort(array), np.arange(num_classes)):
        raise ParameterError(
            "class order", f"is no permutation of 0 … {num_classes - 1}", "list every class once"
        )
    return array

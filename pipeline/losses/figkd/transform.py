"""The discrete wavelet transform of logits along the class axis.

Up to ``DENSE_CLASSES`` classes the transform is a matrix product. For more classes, each level pads
the signal and convolves it with the filters at stride 2, so that memory is linear in the number of
classes. Filters, padding and conventions come from PyWavelets in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Annotated, Literal

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from pipeline.errors import ParameterError, one_of
from pipeline.plugins.section import PositiveInt

_known_wavelet = partial(
    one_of, known=pywt.wavelist(kind="discrete"), what="discrete wavelet of PyWavelets"
)
_known_mode = partial(one_of, known=pywt.Modes.modes, what="padding mode of PyWavelets")


def _check_level(level: object) -> object:
    if level != "max" and not (type(level) is int and level >= 1):
        # The union would produce one message for each of its members.
        raise PydanticCustomError("level", "Input should be a whole number from 1, or max")
    return level


Bands = Literal["detail", "content", "all"]
WaveletName = Annotated[str, AfterValidator(_known_wavelet)]
PaddingMode = Annotated[str, AfterValidator(_known_mode)]
Level = Annotated[PositiveInt | Literal["max"], BeforeValidator(_check_level)]

DENSE_CLASSES = 1024


class ClassAxisDWT(nn.Module):
    """Wavelet coefficients of logits, as ``pywt.wavedec`` along the class axis.

    Args:
        num_classes: Length of the class axis, 2 or more.
        wavelet: A discrete wavelet of PyWavelets.
        level: Levels of the decomposition, 1 to the maximum of PyWavelets for this number of
            classes; ``max`` is that maximum.
        mode: Padding mode of PyWavelets.
        bands: ``detail`` drops the approximation band, ``content`` keeps only it, ``all`` keeps
            everything.
        order: Class at each position of the axis; 0, 1, ... if None.

    Raises:
        ParameterError: The wavelet or mode is unknown, the level is too deep for the number of
            classes, or ``order`` is not a permutation.
    """

    def __init__(
        self,
        num_classes: int,
        wavelet: str = "haar",
        level: int | Literal["max"] = 1,
        mode: str = "symmetric",
        bands: Bands = "detail",
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        filters = pywt.Wavelet(_checked("wavelet", wavelet, _known_wavelet))
        _checked("padding", mode, _known_mode)
        self.level = _checked_level(level, num_classes, filters)
        self._order = _checked_order(order, num_classes)
        lengths = [num_classes]
        for _ in range(self.level):
            lengths.append(pywt.dwt_coeff_len(lengths[-1], filters.dec_len, mode))
        names = ["content", *(f"detail{k}" for k in range(self.level, 0, -1))]
        self._kept = {"detail": slice(1, None), "content": slice(1), "all": slice(None)}[bands]
        self.band_names = names[self._kept]
        self.band_sizes = [lengths[-1], *lengths[:0:-1]][self._kept]
        # float64 arrays, not buffers: a buffer is cast with the module, and MPS has no float64.
        self._is_dense = num_classes <= DENSE_CLASSES
        if self._is_dense:
            impulses = np.eye(num_classes)[:, self._order]
            coefficients = pywt.wavedec(impulses, wavelet, mode, self.level)
            self._arrays = [np.concatenate(coefficients[self._kept], axis=1)]
        else:
            # The first coefficient of "periodization" is centered on the first value.
            taps = filters.dec_len
            self._left = taps // 2 - 1 if mode == "periodization" else taps - 2
            paddings = (_padding(length, taps, mode, self._left) for length in lengths[:-1])
            self._arrays = [np.array([filters.dec_lo, filters.dec_hi])[:, ::-1].copy(), *paddings]
        self._tensors: dict[tuple[torch.device, torch.dtype], tuple[Tensor, list[Tensor]]] = {}

    def forward(self, logits: Tensor) -> Tensor:
        """The kept coefficients, coarsest band first.

        Args:
            logits: [..., num_classes], of any floating dtype, on any device.

        Returns:
            [..., sum(band_sizes)], float64 for float64 logits and float32 for all others,
            because half precision is too coarse for the detail coefficients.
        """
        with torch.autocast(logits.device.type, enabled=False):
            if logits.dtype not in (torch.float32, torch.float64):
                logits = logits.float()
            order, (first, *paddings) = self._on(logits.device, logits.dtype)
            if self._is_dense:
                return logits @ first
            return self._convolve(logits[..., order], first, paddings)

    def split(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Splits the result of ``forward`` into bands by name (``content``, ``detail3``, ...)."""
        parts = torch.split(coefficients, self.band_sizes, dim=-1)
        return dict(zip(self.band_names, parts, strict=True))

    def _on(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        """The class order and the constants on a device; copied there at the first call."""
        key = (device, dtype)
        if key not in self._tensors:
            constants = [torch.from_numpy(array).to(dtype).to(device) for array in self._arrays]
            self._tensors[key] = torch.from_numpy(self._order).to(device), constants
        return self._tensors[key]

    def _convolve(self, signal: Tensor, filters: Tensor, paddings: list[Tensor]) -> Tensor:
        content, details = signal.reshape(-1, signal.shape[-1]), []
        for padding in paddings:
            content, detail = _one_level(content, filters, padding, self._left)
            details.append(detail)
        kept = torch.cat([content, *reversed(details)][self._kept], dim=-1)
        return kept.reshape(*signal.shape[:-1], sum(self.band_sizes))


def band_energy(logits: Tensor, transform: ClassAxisDWT) -> dict[str, float]:
    """The fraction of the energy of centered logits in each band of a transform.

    The mean squared detail is this fraction times the total energy, so a class order that moves
    energy into the detail has the effect of a larger ``detail_weight``.

    Args:
        logits: [n, classes], of any floating dtype.
        transform: A transform that keeps all bands.

    Returns:
        Sum of squared coefficients by band name, coarsest first, divided by the sum over all bands;
        zeros for logits that are equal for all classes.

    Examples:
        >>> band_energy(torch.tensor([[3.0, 3.0, -1.0, -1.0]]), ClassAxisDWT(4, bands="all"))
        {'content': 1.0, 'detail1': 0.0}
    """
    exact = logits.detach().double().cpu()
    coefficients = transform.split(transform(exact - exact.mean(dim=-1, keepdim=True)))
    energy = {name: float(band.square().sum()) for name, band in coefficients.items()}
    total = sum(energy.values())
    return {name: part / total if total else 0.0 for name, part in energy.items()}


def _padding(length: int, taps: int, mode: str, left: int) -> NDArray[np.float64]:
    """The padding of one level as a matrix, float64 [end values, left + right].

    A padded value is a linear combination of the ``taps + 1`` values at either end, in every mode
    and at every level that PyWavelets allows. If the signal is short, these are all its values.
    """
    right = 2 * (pywt.dwt_coeff_len(length, taps, mode) - 1) + taps - left - length
    width = taps + 1
    ends = min(length, 2 * width + length % 2)  # "periodization" extends odd lengths by one
    padded = np.stack([pywt.pad(impulse, width, mode) for impulse in np.eye(ends)])
    after = width + ends
    return np.concatenate([padded[:, width - left : width], padded[:, after : after + right]], 1)


def _one_level(signal: Tensor, filters: Tensor, padding: Tensor, left: int) -> list[Tensor]:
    """Content and detail of a signal [n, length]; filters [2, taps] are low and high-pass."""
    ends, taps = signal, filters.shape[1]
    if len(padding) < signal.shape[1]:
        half = len(padding) // 2
        ends = torch.cat([signal[:, :half], signal[:, half - len(padding) :]], dim=1)
    before, after = torch.tensor_split(ends @ padding, [left], dim=1)
    padded = torch.cat([before, signal, after], dim=1)
    # Strided slices instead of F.conv1d, since cuDNN convolves float32 in TF32 by default.
    stop = padded.shape[1] - taps + 1
    slices = [padded[:, tap : stop + tap : 2] for tap in range(taps)]
    return [reduce(torch.add, map(torch.mul, slices, weights)) for weights in filters]


def _checked(thing: str, name: str, check: Callable[[str], str]) -> str:
    try:
        return check(name)
    except ValueError as error:
        raise ParameterError(thing, str(error)) from None


def _checked_level(level: int | Literal["max"], num_classes: int, wavelet: pywt.Wavelet) -> int:
    deepest = int(pywt.dwt_max_level(num_classes, wavelet.dec_len))
    chosen = deepest if level == "max" else level
    if not 1 <= chosen <= deepest:
        raise ParameterError(
            f"wavelet level {level}",
            f"{num_classes} classes allow 1 to {deepest} for {wavelet.name}",
            "lower distill.figkd.level or use a shorter wavelet (haar)",
        )
    return chosen


def _checked_order(order: Sequence[int] | None, num_classes: int) -> NDArray[np.int64]:
    if order is None:
        return np.arange(num_classes)
    array = np.asarray(order, dtype=np.int64)
    if not np.array_equal(np.sort(array), np.arange(num_classes)):
        problem = f"is not a permutation of 0, ..., {num_classes - 1}"
        raise ParameterError("class order", problem, "list every class once")
    return array

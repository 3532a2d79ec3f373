"""The discrete wavelet transform of logits along the class axis.

The transform is linear whatever the wavelet, padding mode and level, so it is a matrix, which
PyWavelets fills once. A permutation of the classes is a permutation of the matrix's rows, and the
gradient is the product with its transpose. Few of its entries are not zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from pipeline.errors import ParameterError, one_of
from pipeline.losses.figkd.matrix import analysis_matrices

Bands = Literal["detail", "content", "all"]

# Up to here the dense product is about as fast or faster. Forward and backward of haar's mean
# square on one thread of an EPYC with AVX2, in ms, dense / sparse: at batch 64, 128 classes
# 0.25 / 0.25 and 160 classes 0.24 / 0.23; at batch 256, 100 classes 0.33 / 0.33, 160 classes
# 0.49 / 0.40 and 200 classes 0.48 / 0.37. With AVX-512 the two meet near 200 classes, and at batch
# 32 the sparse one takes a fourth with 1,000. Longer wavelets and more levels turn at about the
# same count.
_DENSE_CLASSES = 160


class ClassAxisDWT(nn.Module):
    """Wavelet coefficients of logits.

    Args:
        num_classes: Length of the class axis, 2 or more.
        wavelet: A discrete wavelet of PyWavelets.
        level: Levels of the decomposition, from 1 to ``max_level(num_classes, wavelet)``, or
            ``max`` for just that.
        mode: Padding mode of PyWavelets.
        bands: ``detail`` drops the approximation band, ``content`` keeps only it, ``all`` keeps
            everything.
        order: The class that stands at each place of the axis; as they are when None.

    Raises:
        ParameterError: The wavelet or mode is unknown, the level is deeper than the class count
            allows, or ``order`` is no permutation.
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
        self.num_classes = num_classes
        self.wavelet = wavelet
        self.level = _checked_level(level, num_classes, wavelet)
        self.mode = _known("padding", mode, pywt.Modes.modes, "padding mode of PyWavelets")
        self.order = _checked_order(order, num_classes)
        details = tuple(f"detail{k}" for k in range(self.level, 0, -1))
        names = ("content", *details)
        self.band_names = {"detail": details, "content": names[:1], "all": names}[bands]
        matrices = dict(
            zip(names, analysis_matrices(num_classes, wavelet, self.level, mode), strict=True)
        )
        self.band_sizes = tuple(matrices[name].shape[0] for name in self.band_names)
        matrix = sparse.vstack([matrices[name] for name in self.band_names], format="csr")
        # In float64, off the module's device: a buffer would be cast along with the module, and
        # not every device has that type.
        self._exact = matrix[:, np.argsort(self.order)]
        self._grams: dict[tuple[torch.device, torch.dtype], Tensor | _Rows | None] = {}
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor | _Product] = {}

    def forward(self, logits: Tensor) -> Tensor:
        """The kept coefficients, coarsest band first.

        Args:
            logits: [..., num_classes], of any floating dtype, on any device.

        Returns:
            [..., sum(band_sizes)], float64 for float64 logits and float32 for all others, since
            half precision would lose the differences that the detail consists of.
        """
        if torch.is_autocast_enabled(logits.device.type):
            with torch.autocast(logits.device.type, enabled=False):
                return self(logits)  # type: ignore[no-any-return]
        if logits.dtype not in (torch.float32, torch.float64):
            logits = logits.float()
        product = self._placed.get((logits.device, logits.dtype))
        if product is None:
            product = self._place(logits)
        if isinstance(product, _Product):
            return _SparseProduct.apply(logits, product)  # type: ignore[no-any-return]
        return logits @ product

    def mean_square(self, logits: Tensor) -> Tensor:
        """The mean of all squared coefficients, as ``forward(logits).square().mean()``, but faster.

        With G the matrix times its transpose, the sum of squares of a row x is x G x, and half of
        its gradient is G x: one product serves both directions.

        Args:
            logits: [..., num_classes], of any floating dtype, on any device.

        Returns:
            Scalar of the dtype that ``forward`` returns.
        """
        if torch.is_autocast_enabled(logits.device.type):
            with torch.autocast(logits.device.type, enabled=False):
                return self.mean_square(logits)
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        gram = self._gram_on(logits.device, dtype)
        if gram is None:
            coefficients: Tensor = self(logits)
            return (coefficients * coefficients).sum() / coefficients.numel()
        flat = logits.to(dtype)
        if flat.dim() != 2:
            flat = flat.reshape(-1, self.num_classes)
        mean: Tensor = _MeanSquare.apply(flat, gram, len(flat) * sum(self.band_sizes))
        return mean

    def split(self, coefficients: Tensor) -> dict[str, Tensor]:
        """Cuts what ``forward`` returned into its bands, by name (``content``, ``detail3``, …)."""
        parts = torch.split(coefficients, list(self.band_sizes), dim=-1)
        return dict(zip(self.band_names, parts, strict=True))

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Logits from coefficients, by ``pywt.waverec``: to look at, without gradients.

        Args:
            coefficients: [..., sum(band_sizes)] of all bands, as ``forward`` returns them.

        Returns:
            [..., num_classes], in the classes' own order.

        Raises:
            ParameterError: The transform keeps only some of the bands.
        """
        if len(self.band_names) != self.level + 1:
            raise ParameterError(
                "inverse transform", f"only {', '.join(self.band_names)} kept", "take bands='all'"
            )
        bands = [band.numpy(force=True) for band in self.split(coefficients).values()]
        # A signal of odd length comes back one longer.
        ordered = pywt.waverec(bands, self.wavelet, self.mode)[..., : self.num_classes]
        logits = np.empty_like(ordered)
        logits[..., self.order] = ordered
        return torch.from_numpy(logits).to(coefficients.device, coefficients.dtype)

    def _place(self, logits: Tensor) -> Tensor | _Product:
        """Brings the matrix to the device and dtype of these logits, where it then stays."""
        device, dtype = logits.device, logits.dtype
        self._placed[device, dtype] = (
            torch.from_numpy(self._exact.T.toarray()).to(dtype).to(device)
            if self.num_classes <= _DENSE_CLASSES
            else _Product.of(self._exact, device, dtype)
        )
        return self._placed[device, dtype]

    def _gram_on(self, device: torch.device, dtype: torch.dtype) -> Tensor | _Rows | None:
        if (device, dtype) not in self._grams:
            gram = (self._exact.T @ self._exact).tocsr()
            # Coarse bands overlap: with many levels the matrix would fill up to classes squared.
            is_worth_it = gram.nnz <= 2 * self._exact.nnz
            self._grams[device, dtype] = (
                torch.from_numpy(gram.toarray()).to(dtype).to(device)
                if self.num_classes <= _DENSE_CLASSES
                else _Rows.of(gram, device, dtype)
                if is_worth_it
                else None
            )
        return self._grams[device, dtype]


def max_level(num_classes: int, wavelet: str) -> int:
    """The deepest level that PyWavelets allows for this many classes; 0 when there is none.

    Raises:
        ParameterError: PyWavelets has no discrete wavelet of that name.
    """
    known = pywt.wavelist(kind="discrete")
    name = _known("wavelet", wavelet, known, "discrete wavelet of PyWavelets")
    return int(pywt.dwt_max_level(num_classes, pywt.Wavelet(name).dec_len))


def band_energy(
    logits: Tensor,
    wavelet: str = "haar",
    level: int | Literal["max"] = 1,
    mode: str = "symmetric",
    order: Sequence[int] | None = None,
) -> dict[str, float]:
    """What share of the energy of centered logits each band holds, under an order of the classes.

    The mean squared detail is this share times what the logits have in all, so an order that moves
    energy into the detail acts like a larger weight of the loss.

    Args:
        logits: [n, classes], of any floating dtype.
        wavelet: As of ``ClassAxisDWT``, like what follows.
        level: Levels of the decomposition.
        mode: Padding mode.
        order: The class at each place of the axis.

    Returns:
        Sum of squared coefficients by band name, coarsest first, over that of all bands; all 0 for
        logits that do not differ between classes. For an orthogonal wavelet under periodization,
        with classes divisible by 2 ** level, it is the share of the logits' own energy.

    Raises:
        ParameterError: See ``ClassAxisDWT``.
    """
    transform = ClassAxisDWT(logits.shape[-1], wavelet, level, mode, "all", order)
    wide = logits.detach().double().cpu()
    coefficients = transform.split(transform(wide - wide.mean(dim=-1, keepdim=True)))
    energy = {name: float(band.square().sum()) for name, band in coefficients.items()}
    total = sum(energy.values())
    return {name: part / total if total else 0.0 for name, part in energy.items()}


@dataclass(frozen=True)
class _Rows:
    """The entries of a sparse matrix, row after row.

    Attributes:
        columns: int64 [entries].
        starts: int64 [rows + 1], where each row's entries begin, and the last ones end.
        values: [entries].
    """

    columns: Tensor
    starts: Tensor
    values: Tensor

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device, dtype: torch.dtype) -> _Rows:
        return cls(
            torch.from_numpy(matrix.indices.astype(np.int64)).to(device),
            torch.from_numpy(matrix.indptr.astype(np.int64)).to(device),
            torch.from_numpy(matrix.data).to(dtype).to(device),
        )

    def times(self, columns: Tensor) -> Tensor:
        """The product with [columns, n], which gives [rows, n].

        The sum of weighted rows is an embedding bag's, which PyTorch has for every device and both
        types; its CSR product is not there on all of them, and no faster.
        """
        return F.embedding_bag(
            self.columns,
            columns,
            self.starts,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )


@dataclass(frozen=True)
class _Product:
    """A sparse matrix and its transpose."""

    matrix: _Rows
    transpose: _Rows

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device, dtype: torch.dtype) -> _Product:
        return cls(_Rows.of(matrix, device, dtype), _Rows.of(matrix.T.tocsr(), device, dtype))


class _MeanSquare(torch.autograd.Function):
    """See ``ClassAxisDWT.mean_square``; of logits [n, classes] with ``count`` coefficients."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gram: Tensor | _Rows, count: int) -> Tensor:
        ctx.gram, ctx.count = gram, count
        if isinstance(gram, Tensor):
            product = logits @ gram
            ctx.save_for_backward(logits, product)
            return torch.dot(logits.reshape(-1), product.view(-1)) / count
        # The sparse product takes a column per image, and leaves its result so.
        columns = logits.t().contiguous()
        rows = gram.times(columns)
        ctx.save_for_backward(logits, rows.t())
        return torch.dot(columns.view(-1), rows.view(-1)) / count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, product = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: the product must have its own
            gram = ctx.gram
            if isinstance(gram, Tensor):
                product = logits @ gram
            else:
                product = _SparseProduct.apply(logits, _Product(gram, gram))
        return product * (gradient * (2 / ctx.count)), None, None


class _SparseProduct(torch.autograd.Function):
    """Batch [..., columns] to [..., rows]; its gradient is the product with the transpose."""

    @staticmethod
    def forward(ctx: Any, batch: Tensor, product: _Product) -> Tensor:
        ctx.product = product
        rows = product.matrix.times(batch.reshape(-1, batch.shape[-1]).t().contiguous())
        return rows.t().reshape(*batch.shape[:-1], len(rows))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        product = ctx.product
        return _SparseProduct.apply(gradient, _Product(product.transpose, product.matrix)), None


def _known(thing: str, name: str, names: Sequence[str], what: str) -> str:
    try:
        return one_of(name, names, what)
    except ValueError as error:
        raise ParameterError(thing, str(error)) from None


def _checked_level(level: int | Literal["max"], num_classes: int, wavelet: str) -> int:
    deepest = max_level(num_classes, wavelet)
    chosen = deepest if level == "max" else level
    if not 1 <= chosen <= deepest:
        raise ParameterError(
            f"wavelet level {level}",
            f"{num_classes} classes allow 1 to {deepest} for {wavelet}"
            if deepest
            else f"{num_classes} classes are too few for {wavelet} at any level",
            "lower distill.figkd.level or take a shorter wavelet (haar)",
        )
    return chosen


def _checked_order(order: Sequence[int] | None, num_classes: int) -> NDArray[np.int64]:
    if order is None:
        return np.arange(num_classes)
    array = np.asarray(order, dtype=np.int64)
    if not np.array_equal(np.sort(array), np.arange(num_classes)):
        raise ParameterError(
            "class order", f"is no permutation of 0 … {num_classes - 1}", "list every class once"
        )
    return array

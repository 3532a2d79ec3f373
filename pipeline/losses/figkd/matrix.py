"""The wavelet transform of a signal as sparse matrices, read off PyWavelets by impulses.

PyWavelets transforms unit impulses, so its filters, padding and conventions are the only ones. An
impulse far from both ends is never padded, and moving it by two places moves its response by one:
two impulses stand for all such, and no step needs memory that grows with the squared length.
"""

from __future__ import annotations

import numpy as np
import pywt
from scipy import sparse


def analysis_matrices(length: int, wavelet: str, level: int, mode: str) -> list[sparse.csr_matrix]:
    """The matrices that make each band of ``pywt.wavedec`` from the signal, in its order.

    Args:
        length: Length of the signal.
        wavelet: A discrete wavelet of PyWavelets.
        level: From 1 to what PyWavelets allows for this length.
        mode: Padding mode of PyWavelets.

    Returns:
        float64 [band size, length] each: the content, then the details from coarse to fine.
    """
    content, detail = _one_level(length, wavelet, mode)
    details = [detail]
    for _ in range(level - 1):
        low, high = _one_level(content.shape[0], wavelet, mode)
        details.append(high @ content)
        content = low @ content
    return [content, *reversed(details)]


def _one_level(length: int, wavelet: str, mode: str) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    # No mode pads with more than the outermost `taps` values, or spreads a value further.
    edge = pywt.Wavelet(wavelet).dec_len + 2
    inner = np.arange(edge, length - edge)
    left, right = np.arange(min(edge, length)), np.arange(max(edge, length - edge), length)
    places = np.concatenate([left, inner[:2], right])
    impulses = np.zeros((len(places), length))
    impulses[np.arange(len(places)), places] = 1.0
    low, high = (
        _repeat_inner(band, places, inner, length)
        for band in pywt.dwt(impulses, wavelet, mode, axis=1)
    )
    return low, high


def _repeat_inner(
    responses: np.ndarray, places: np.ndarray, inner: np.ndarray, length: int
) -> sparse.csr_matrix:
    """Responses [impulses, band size] at ``places``, and the two inner ones at all inner places."""
    probes, places_out = np.nonzero(responses)
    rows, columns = [places_out], [places[probes]]
    values = [responses[probes, places_out]]
    for first, response in zip(inner[:2], responses[np.isin(places, inner[:2])], strict=True):
        (places_out,) = np.nonzero(response)
        others = np.arange(first + 2, inner[-1] + 1, 2)
        rows.append(np.add.outer((others - first) // 2, places_out).ravel())
        columns.append(np.repeat(others, len(places_out)))
        values.append(np.tile(response[places_out], len(others)))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(responses.shape[1], length))

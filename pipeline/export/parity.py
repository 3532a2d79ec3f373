"""Compares an exported file with the PyTorch model on real images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.prepared import Split
from pipeline.errors import ExportError
from pipeline.export.onnx_export import INPUT, OUTPUTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_PYTORCH_BATCH = 32
_THREADS = 2

BATCHES = (1, 2, 7)


@dataclass(frozen=True)
class Difference:
    """Difference between file and PyTorch at one batch size.

    Attributes:
        batch: Batch size.
        absolute: Largest difference of a logit.
        relative: Largest difference of a logit, relative to the largest |logit| of its image.
        probability: Largest difference between a probability and the softmax of the file's logits.
        agreement: Fraction of the images with the same top-1 class.
    """

    batch: int
    absolute: float
    relative: float
    probability: float
    agreement: float


@dataclass(frozen=True)
class Parity:
    """Differences between file and PyTorch on a number of images, one per batch size."""

    images: int
    differences: tuple[Difference, ...]

    @property
    def worst(self) -> Difference:
        """The largest relative difference."""
        return max(self.differences, key=lambda difference: difference.relative)


@dataclass(frozen=True)
class BatchOutputs:
    """Outputs of the file, and ``expected`` logits of PyTorch; all float32 [batch, classes]."""

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    expected: NDArray[np.float32]


def parity_images(split: Split) -> NDArray[np.uint8]:
    """Up to 64 images, uint8 [n, size, size, 3], evenly spaced so that all classes are included."""
    chosen = np.unique(np.linspace(0, len(split) - 1, num=min(64, len(split)), dtype=int))
    return np.array(split.images[chosen])


def check_parity(
    model: torch.nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    path: Path,
    images: NDArray[np.uint8],
    *,
    tolerance: float,
) -> Parity:
    """Compares an exported file, run by ONNX Runtime on the CPU, with the PyTorch model.

    All images are run at each batch size of ``BATCHES``, or at 1 only if the file's batch is fixed.

    Args:
        model: The exported model; it is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0 ... 1.
        std: Standard deviation of each RGB channel, for pixels in 0 ... 1.
        path: The exported file.
        images: Real images, uint8 [n, height, width, 3] RGB, at least as many as the largest batch.
        tolerance: Largest accepted difference of a logit, relative to the largest |logit| of its
            image; also of a probability, absolute.

    Raises:
        ExportError: Inputs or outputs of the file are wrong, or its outputs differ from PyTorch's.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = copy.deepcopy(model).cpu().eval()
    starts = range(0, len(images), _PYTORCH_BATCH)
    with torch.inference_mode():
        logits = [
            model(normalize_images(images[start : start + _PYTORCH_BATCH], mean, std))
            for start in starts
        ]
    expected: NDArray[np.float32] = torch.cat(logits).numpy()
    check_io_contract(session, path, images.shape[1:], classes=expected.shape[1])

    def run(chosen: slice) -> BatchOutputs:
        logits, probabilities = session.run(list(OUTPUTS), {INPUT: images[chosen]})
        return BatchOutputs(logits, probabilities, expected[chosen])

    sizes = batch_sizes(session)
    return compare_outputs(path, run, len(images), sizes, tolerance=tolerance)


def compare_outputs(
    path: Path,
    run: Callable[[slice], BatchOutputs],
    images: int,
    batches: Sequence[int],
    *,
    tolerance: float,
) -> Parity:
    """Compares logits with PyTorch's, and probabilities with the softmax of the file's logits.

    ``run`` runs both on a slice of the ``images``; ``tolerance`` is that of ``check_parity``.

    Raises:
        ExportError: There are too few images, or the outputs differ.
    """
    if images < max(batches):
        raise ExportError(
            path.name,
            f"cannot be checked at batch {max(batches)} with only {images} images",
            "give at least as many images as the largest batch",
        )
    differences = []
    for size in batches:
        outputs = [run(slice(start, start + size)) for start in range(0, images, size)]
        difference = _difference(size, outputs)
        # Written so that NaN fails, too.
        if not (difference.relative <= tolerance and difference.probability <= tolerance):
            raise ExportError(
                path.name,
                f"at batch {size} its logits differ from PyTorch's by up to "
                f"{difference.relative:.2g} of the largest logit ({difference.absolute:.2g} "
                f"absolute), and its probabilities from their softmax by up to "
                f"{difference.probability:.2g}, above the tolerance of {tolerance:g}; top-1 "
                f"classes agree for {difference.agreement:.1%} of {images} images",
                "export it again from these weights, or raise export.tolerance",
            )
        differences.append(difference)
    return Parity(images, tuple(differences))


def batch_sizes(session: InferenceSession) -> Sequence[int]:
    """The batch sizes of ``BATCHES`` that a file supports: 1 only if its batch is fixed at 1."""
    return [1] if session.get_inputs()[0].shape[0] == 1 else BATCHES


def normalize_images(
    images: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Converts uint8 [n, height, width, 3] to the model's input, float32 [n, 3, height, width]."""
    means, stds = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
    return (pixels - means) / stds


def check_io_contract(
    session: InferenceSession, path: Path, image_shape: tuple[int, ...], classes: int
) -> None:
    """Checks names, types and shapes of a file's input and outputs.

    ``image_shape`` is height, width and channels.

    Raises:
        ExportError: A name, type or shape is wrong.
    """

    def described(values: Sequence[Any]) -> list[str]:
        # A dynamic batch is a name in ONNX; which name does not matter.
        return [
            f"{v.name} {v.type} {['batch' if isinstance(d, str) else d for d in v.shape]}"
            for v in values
        ]

    batch = 1 if session.get_inputs()[0].shape[0] == 1 else "batch"
    expected = (
        [f"{INPUT} tensor(uint8) {[batch, *image_shape]}"],
        [f"{name} tensor(float) {[batch, classes]}" for name in OUTPUTS],
    )
    found = described(session.get_inputs()), described(session.get_outputs())
    for end, actual, wanted in zip(("input", "output"), found, expected, strict=True):
        if actual != wanted:
            raise ExportError(
                path.name,
                f"its {end} is {', '.join(actual)}, not {', '.join(wanted)}",
                "export it with export_onnx, at the size of the images",
            )


def _difference(batch: int, outputs: Sequence[BatchOutputs]) -> Difference:
    logits, probabilities, expected = (
        np.concatenate([getattr(output, name) for output in outputs])
        for name in ("logits", "probabilities", "expected")
    )
    error = np.abs(logits - expected)
    softmax = torch.from_numpy(logits).softmax(dim=1).numpy()
    return Difference(
        batch=batch,
        absolute=float(error.max()),
        relative=float((error / np.abs(expected).max(axis=1, keepdims=True)).max()),
        probability=float(np.abs(probabilities - softmax).max()),
        agreement=float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )

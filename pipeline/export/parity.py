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
from pipeline.export.onnx_export import OUTPUTS
from pipeline.export.onnx_metadata import INPUT
from pipeline.files import hash_file
from pipeline.models.classifier import Spec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_PYTORCH_BATCH = 32
_THREADS = 2

BATCHES = (1, 2, 7)

Outputs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Logits and probabilities of the file, and logits of PyTorch; all float32 [batch, classes]."""


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
    """Differences between a file and PyTorch on a number of images.

    Attributes:
        images: Number of images.
        variation: Largest deviation of a logit from its mean over the images, relative to the
            largest |logit| of its image. It is above the tolerance: the comparison would detect a
            file that ignores its images.
        differences: One per batch size.
        sha256: Hash of the file.
    """

    images: int
    variation: float
    differences: tuple[Difference, ...]
    sha256: str

    @property
    def worst(self) -> Difference:
        """The difference with the largest ``relative``."""
        return max(self.differences, key=lambda difference: difference.relative)


def parity_images(split: Split) -> NDArray[np.uint8]:
    """Up to 64 images, uint8 [n, height, width, channels], evenly spaced over the split."""
    chosen = np.unique(np.linspace(0, len(split) - 1, num=min(64, len(split)), dtype=int))
    return np.array(split.images[chosen])


def check_parity(
    model: torch.nn.Module, spec: Spec, path: Path, images: NDArray[np.uint8], *, tolerance: float
) -> Parity:
    """Compares an exported file, run by ONNX Runtime on the CPU, with the PyTorch model.

    All images are run at each batch size of ``BATCHES``, or at 1 only if the file's batch is fixed.

    Args:
        model: The exported model; it is copied, not changed.
        spec: Mean and standard deviation of the preprocessing.
        path: The exported file.
        images: Real images, uint8 [n, height, width, channels], at least as many as the largest
            batch.
        tolerance: Largest accepted difference of a logit, relative to the largest |logit| of its
            image; also of a probability, absolute.

    Raises:
        ExportError: Inputs or outputs of the file are wrong, its outputs differ from PyTorch's, or
            PyTorch's do not vary, so that a comparison would prove nothing.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = copy.deepcopy(model).cpu().eval()
    with torch.inference_mode():
        batches = torch.split(normalize_images(images, spec), _PYTORCH_BATCH)
        expected = torch.cat([model(batch) for batch in batches]).numpy()
    check_io_contract(session, path, images.shape[1:], classes=expected.shape[1])

    def run(chosen: slice) -> Outputs:
        logits, probabilities = session.run(list(OUTPUTS), {INPUT: images[chosen]})
        return logits, probabilities, expected[chosen]

    return compare_outputs(session, path, run, len(images), tolerance=tolerance)


def compare_outputs(
    session: InferenceSession,
    path: Path,
    run: Callable[[slice], Outputs],
    images: int,
    *,
    tolerance: float,
) -> Parity:
    """Compares logits with PyTorch's, and probabilities with the softmax of the file's logits.

    ``run`` runs both on a slice of the ``images``; ``tolerance`` is that of ``check_parity``.

    Raises:
        ExportError: There are too few images, PyTorch's logits are not finite or do not vary, or
            the outputs differ.
    """
    batches = [1] if session.get_inputs()[0].shape[0] == 1 else BATCHES
    if images < max(batches):
        problem = f"cannot be checked at batch {max(batches)} with only {images} images"
        remedy = "give at least as many images as the largest batch"
        raise ExportError(path.name, problem, remedy)
    differences = []
    for size in batches:
        outputs = [run(slice(start, start + size)) for start in range(0, images, size)]
        logits, probabilities, expected = map(np.concatenate, zip(*outputs, strict=True))
        variation = _check_variation(path.name, expected, tolerance)
        difference = _difference(size, logits, probabilities, expected)
        # `not (a <= b)` is also true for NaN.
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
    return Parity(images, variation, tuple(differences), hash_file(path))


def normalize_images(images: NDArray[np.uint8], spec: Spec) -> Tensor:
    """Converts uint8 [n, height, width, channels] to the input of the network.

    That is float32 [n, channels, height, width].
    """
    means, stds = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
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

    def describe(values: Sequence[Any]) -> str:
        # In ONNX, a dynamic batch has an arbitrary name.
        shapes = [["batch" if isinstance(d, str) else d for d in v.shape] for v in values]
        return ", ".join(f"{v.name} {v.type} {s}" for v, s in zip(values, shapes, strict=True))

    batch = 1 if session.get_inputs()[0].shape[0] == 1 else "batch"
    outputs = ", ".join(f"{name} tensor(float) {[batch, classes]}" for name in OUTPUTS)
    for end, found, expected in (
        ("input", describe(session.get_inputs()), f"{INPUT} tensor(uint8) {[batch, *image_shape]}"),
        ("output", describe(session.get_outputs()), outputs),
    ):
        if found != expected:
            problem = f"its {end} is {found}, not {expected}"
            remedy = "export it with export_onnx, at the size of the images"
            raise ExportError(path.name, problem, remedy)


def _check_variation(name: str, logits: NDArray[np.float32], tolerance: float) -> float:
    """Checks that logits, [images, classes], depend on image and class; returns the variation.

    Otherwise a file that returns the same logits for every image, or the same for every class,
    would pass the comparison.
    """
    if not np.isfinite(logits).all():
        problem = "its PyTorch model returns NaN or infinite logits"
        remedy = "train it again, with a lower learning rate"
        raise ExportError(name, problem, remedy)
    over_images = _deviation(logits, axis=0)
    for variation, among in ((over_images, "images"), (_deviation(logits, axis=1), "classes")):
        if not variation > tolerance:
            problem = (
                f"the logits of its PyTorch model are the same for all {among} (they vary by "
                f"{variation:.2g} of the largest, with a tolerance of {tolerance:g}), so a "
                "comparison proves nothing"
            )
            raise ExportError(name, problem, "train the model first, or lower export.tolerance")
    return over_images


def _deviation(logits: NDArray[np.float32], axis: int) -> float:
    """Largest deviation from the mean over an axis, relative to the largest |logit| of an image."""
    deviation = np.abs(logits - logits.mean(axis=axis, keepdims=True, dtype=np.float64))
    return float((deviation / _largest(logits)).max())


def _largest(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest |logit| of each image, [images, 1]; above 0, for use as a divisor."""
    largest: NDArray[np.float32] = np.abs(logits).max(axis=1, keepdims=True)
    return np.maximum(largest, np.finfo(np.float32).tiny)


def _difference(
    batch: int,
    logits: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    expected: NDArray[np.float32],
) -> Difference:
    error = np.abs(logits - expected)
    softmax = torch.from_numpy(logits).softmax(dim=1).numpy()
    return Difference(
        batch=batch,
        absolute=float(error.max()),
        relative=float((error / _largest(expected)).max()),
        probability=float(np.abs(probabilities - softmax).max()),
        agreement=float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )

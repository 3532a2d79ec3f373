"""The proof that an exported file computes what PyTorch computes, on real images."""

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

_REFERENCE_BATCH = 32
_THREADS = 2

BATCHES = (1, 2, 7)


@dataclass(frozen=True)
class Difference:
    """How far the exported file is from PyTorch at one batch size.

    Attributes:
        batch: Images per inference.
        absolute: Largest difference of a logit.
        relative: Largest difference of a logit, relative to the largest |logit| of its image.
        probability: Largest difference of a probability from the softmax of the file's logits.
        agreement: Share of the images for which file and PyTorch name the same class.
    """

    batch: int
    absolute: float
    relative: float
    probability: float
    agreement: float


@dataclass(frozen=True)
class Parity:
    """The exported file beside PyTorch on real images.

    Attributes:
        images: Number of images compared.
        differences: One per batch size.
    """

    images: int
    differences: tuple[Difference, ...]

    @property
    def worst(self) -> Difference:
        """The batch size with the largest relative difference."""
        return max(self.differences, key=lambda difference: difference.relative)


def parity_images(split: Split) -> NDArray[np.uint8]:
    """Up to 64 images, uint8 [n, size, size, 3], spread over a split so that all classes are in."""
    chosen = np.unique(np.linspace(0, len(split) - 1, num=min(64, len(split)), dtype=int))
    return np.array(split.images[chosen])


def check_parity(
    model: torch.nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    path: Path,
    images: NDArray[np.uint8],
    batches: Sequence[int] = BATCHES,
    *,
    tolerance: float,
) -> Parity:
    """Holds an exported file, run by ONNX Runtime on the CPU, to the PyTorch model.

    Every image is run at every batch size; a file with a batch fixed at 1 runs them one by one.

    Args:
        model: What was exported; it is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
        path: The exported file.
        images: Real images, uint8 [n, height, width, 3] RGB, at least as many as the largest batch.
        batches: Batch sizes to try.
        tolerance: Largest accepted difference of a logit, relative to the largest |logit| of its
            image; also of a probability, absolute.

    Raises:
        ExportError: The file does not keep to the contract, or does not compute what the model
            computes; the message says by how much and at which batch.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = copy.deepcopy(model).cpu().eval()
    starts = range(0, len(images), _REFERENCE_BATCH)
    with torch.inference_mode():
        logits = [
            model(normalised(images[start : start + _REFERENCE_BATCH], mean, std))
            for start in starts
        ]
    expected: NDArray[np.float32] = torch.cat(logits).numpy()
    check_contract(session, path, images.shape[1:], classes=expected.shape[1])

    def answer(chosen: slice) -> Answer:
        logits, probabilities = session.run(list(OUTPUTS), {INPUT: images[chosen]})
        return Answer(logits, probabilities, expected[chosen])

    return compare(path, answer, len(images), sizes(session, batches), tolerance=tolerance)


@dataclass(frozen=True)
class Answer:
    """What a file says of a batch, and PyTorch.

    Attributes:
        logits: Of the file, float32 [batch, classes].
        probabilities: Of the file, float32 [batch, classes].
        expected: PyTorch's logits, float32 [batch, classes].
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    expected: NDArray[np.float32]


def compare(
    path: Path,
    answer: Callable[[slice], Answer],
    images: int,
    batches: Sequence[int],
    *,
    tolerance: float,
) -> Parity:
    """Holds a file's logits to PyTorch's, and its probabilities to the softmax of its logits.

    Args:
        path: The exported file.
        answer: Asks both about some of the images.
        images: Number of images.
        batches: Batch sizes to try.
        tolerance: As ``check_parity`` takes it.

    Raises:
        ExportError: There are too few images, or file and PyTorch differ.
    """
    if images < max(batches):
        raise ExportError(
            path.name,
            f"cannot be checked at batch {max(batches)} with only {images} images",
            "give at least as many images as the largest batch",
        )
    differences = []
    for size in batches:
        answers = [answer(slice(start, start + size)) for start in range(0, images, size)]
        difference = _difference(size, answers)
        # NaN is larger than any tolerance, too.
        if not (difference.relative <= tolerance and difference.probability <= tolerance):
            raise ExportError(
                path.name,
                f"at batch {size} its logits differ from PyTorch's by up to "
                f"{difference.relative:.2g} of the image's largest ({difference.absolute:.2g} "
                f"absolute) and its probabilities from their softmax by up to "
                f"{difference.probability:.2g}, above the tolerance of {tolerance:g}; both name "
                f"the same class for {difference.agreement:.1%} of {images} images",
                "export it again from these weights, or raise export.tolerance",
            )
        differences.append(difference)
    return Parity(images, tuple(differences))


def sizes(session: InferenceSession, batches: Sequence[int]) -> Sequence[int]:
    """Of these batch sizes, the ones to run a file at: 1 alone if it takes no other."""
    return [1] if session.get_inputs()[0].shape[0] == 1 else batches


def normalised(images: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images uint8 [n, height, width, 3] as a model takes them, float32 [n, 3, height, width]."""
    centre, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
    return (pixels - centre) / spread


def check_contract(
    session: InferenceSession, path: Path, image_shape: tuple[int, ...], classes: int
) -> None:
    """Sees to it that a file has the input and the outputs that ``pipeline.export.onnx_export`` promises.

    Args:
        session: Of the file.
        path: The file.
        image_shape: Height, width and channels of the images.
        classes: How many it should tell apart.

    Raises:
        ExportError: A name, type or shape is another.
    """

    def described(values: Sequence[Any]) -> list[str]:
        # A dynamic batch is a name in ONNX; which name does not matter.
        return [
            f"{v.name} {v.type} {['batch' if isinstance(d, str) else d for d in v.shape]}"
            for v in values
        ]

    batch = 1 if session.get_inputs()[0].shape[0] == 1 else "batch"
    wanted = (
        [f"{INPUT} tensor(uint8) {[batch, *image_shape]}"],
        [f"{name} tensor(float) {[batch, classes]}" for name in OUTPUTS],
    )
    found = described(session.get_inputs()), described(session.get_outputs())
    for end, has, should in zip(("input", "output"), found, wanted, strict=True):
        if has != should:
            raise ExportError(
                path.name,
                f"its {end} is {', '.join(has)}, not {', '.join(should)}",
                "export it with export_onnx, at the size of the images",
            )


def _difference(batch: int, answers: Sequence[Answer]) -> Difference:
    logits, probabilities, expected = (
        np.concatenate([getattr(answer, name) for answer in answers])
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

"""PyTorch to ONNX, with the preprocessing inside the graph, and the proof that nothing changed.

An exported file takes ``images``, uint8 [batch, height, width, 3] RGB, and returns ``logits`` and
``probabilities``, both float32 [batch, classes].
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray

from pipeline.data.prepared import Split
from pipeline.errors import ExportError
from pipeline.files import whole_file
from pipeline.quiet import quiet

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT = "images"
OUTPUTS = ("logits", "probabilities")

_REFERENCE_BATCH = 32
_THREADS = 2

log = logging.getLogger(__name__)


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


def export_onnx(
    model: torch.nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
    path: Path,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
) -> None:
    """Writes a classifier as one ONNX file that takes photographs as they are.

    The same model gives the same bytes, wherever it is exported: what the exporter notes about
    the Python source is left out of the file (it made a small student's a tenth larger, too).

    Args:
        model: Takes float32 [batch, 3, height, width], normalised, and returns logits
            [batch, classes]. It is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
        image_size: Height and width in pixels.
        path: The file to write.
        batch: ``dynamic``, or 1 for a file that takes one image at a time.
        opset: ONNX operator set.

    Raises:
        ExportError: The model holds something that ONNX cannot express.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # An example of one image would make the exporter take the batch for a constant.
    example = torch.zeros(1 if batch == 1 else 2, image_size, image_size, 3, dtype=torch.uint8)
    try:
        with quiet(log):
            program = torch.onnx.export(
                WithPreprocessing(model, mean, std),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=opset,
                dynamic_shapes=None if batch == 1 else ({0: torch.export.Dim("batch")},),
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(
            path.name,
            f"PyTorch cannot write the model as ONNX opset {opset} ({_cause(error)})",
            "choose another model",
        ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)
    with whole_file(path) as temporary:
        program.save(temporary, external_data=False)
        onnx.checker.check_model(temporary, full_check=True)


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
    batches: Sequence[int] = (1, 2, 7),
    *,
    tolerance: float,
    optimised: bool = True,
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
        optimised: Let the runtime rewrite the graph first, as it does on a device. What it makes
            of a quantised graph rounds at other places; only the graph as written can be exact.

    Raises:
        ExportError: The file does not keep to the contract, or does not compute what the model
            computes; the message says by how much and at which batch.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fixed = session.get_inputs()[0].shape[0] == 1
    sizes = [1] if fixed else list(batches)
    if len(images) < max(sizes):
        raise ExportError(
            path.name,
            f"cannot be checked at batch {max(sizes)} with only {len(images)} images",
            "give at least as many images as the largest batch",
        )
    expected = _reference_logits(model, mean, std, images)
    _check_contract(session, path, images.shape[1:], classes=expected.shape[1])

    largest = np.abs(expected).max(axis=1, keepdims=True)
    differences = []
    for size in sizes:
        logits, probabilities = _run(session, images, size)
        error = np.abs(logits - expected)
        softmax = torch.from_numpy(logits).softmax(dim=1).numpy()
        difference = Difference(
            batch=size,
            absolute=float(error.max()),
            relative=float((error / largest).max()),
            probability=float(np.abs(probabilities - softmax).max()),
            agreement=float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        )
        # NaN is larger than any tolerance, too.
        if not (difference.relative <= tolerance and difference.probability <= tolerance):
            raise ExportError(
                path.name,
                f"at batch {size} its logits differ from PyTorch's by up to "
                f"{difference.relative:.2g} of the image's largest ({difference.absolute:.2g} "
                f"absolute) and its probabilities from their softmax by up to "
                f"{difference.probability:.2g}, above the tolerance of {tolerance:g}; both name "
                f"the same class for {difference.agreement:.1%} of {len(images)} images",
                "export it again from these weights, or raise export.tolerance",
            )
        differences.append(difference)
    return Parity(len(images), tuple(differences))


class WithPreprocessing(torch.nn.Module):
    """A copy of a classifier that takes uint8 [batch, height, width, 3] RGB.

    It returns logits and probabilities, both float32 [batch, classes].

    Args:
        model: Takes float32 [batch, 3, height, width], normalised, and returns logits.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: torch.nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        # (pixel / 255 - mean) / std as one product and one sum: fewer operators on the device.
        centre, spread = torch.tensor([mean, std], dtype=torch.float64).view(2, 3, 1, 1)
        self.register_buffer("scale", (1 / (255 * spread)).float())
        self.register_buffer("shift", (-centre / spread).float())
        self.cpu().eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalises the images and classifies them."""
        # Transposed while still bytes, which is faster on the device. `contiguous` keeps
        # channels-last strides out of the trace, where pooling would turn them into a Gather.
        pixels = images.permute(0, 3, 1, 2).contiguous().float() * self.scale + self.shift
        logits: torch.Tensor = self.model(pixels)
        return logits, logits.softmax(dim=1)


def _cause(error: BaseException) -> str:
    """The first line of what first went wrong: the exporter's own message is a page long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]


def _reference_logits(
    model: torch.nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    images: NDArray[np.uint8],
) -> NDArray[np.float32]:
    model = copy.deepcopy(model).cpu().eval()
    centre, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    logits = []
    with torch.inference_mode():
        for start in range(0, len(images), _REFERENCE_BATCH):
            chunk = np.array(images[start : start + _REFERENCE_BATCH])
            pixels = torch.from_numpy(chunk).permute(0, 3, 1, 2).float() / 255
            logits.append(model((pixels - centre) / spread))
    reference: NDArray[np.float32] = torch.cat(logits).numpy()
    return reference


def _run(
    session: InferenceSession, images: NDArray[np.uint8], batch: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    parts = [
        session.run(list(OUTPUTS), {INPUT: images[start : start + batch]})
        for start in range(0, len(images), batch)
    ]
    logits, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return logits, probabilities


def _check_contract(
    session: InferenceSession, path: Path, image_shape: tuple[int, ...], classes: int
) -> None:
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

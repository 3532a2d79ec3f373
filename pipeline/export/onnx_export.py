"""PyTorch to ONNX, with the preprocessing inside the graph.

An exported file takes ``images``, uint8 [batch, height, width, 3] RGB, and returns ``logits`` and
``probabilities``, both float32 [batch, classes]. ``pipeline.export.parity`` proves that it does.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch.onnx import ONNXProgram

from pipeline.errors import ExportError
from pipeline.files import whole_file
from pipeline.quiet import quiet

INPUT = "images"
OUTPUTS = ("logits", "probabilities")

log = logging.getLogger(__name__)


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

    The same model gives the same bytes, wherever it is exported.

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
    whole = WithPreprocessing(model, mean, std)
    save(translate(whole, image_size, path.name, batch=batch, opset=opset), path)


def translate(
    model: WithPreprocessing,
    image_size: int,
    name: str,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
) -> ONNXProgram:
    """A classifier as an ONNX graph that is not in a file yet.

    Args:
        model: What to translate.
        image_size: Height and width in pixels.
        name: What an error calls it.
        batch: ``dynamic``, or 1 for a graph that takes one image at a time.
        opset: ONNX operator set.

    Raises:
        ExportError: The model holds something that ONNX cannot express.
    """
    # An example of one image would make the exporter take the batch for a constant.
    example = torch.zeros(1 if batch == 1 else 2, image_size, image_size, 3, dtype=torch.uint8)
    try:
        with quiet(log):
            program = torch.onnx.export(
                model,
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
            name,
            f"PyTorch cannot write the model as ONNX opset {opset} ({_cause(error)})",
            "choose another model",
        ) from error
    assert program is not None
    return program


def save(program: ONNXProgram, path: Path) -> None:
    """Writes a graph as one valid file, without what the exporter notes about the Python source.

    That would make the file differ from place to place, and a small student's a tenth larger.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(program.model)
    with whole_file(path) as temporary:
        program.save(temporary, external_data=False)
        onnx.checker.check_model(temporary, full_check=True)


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

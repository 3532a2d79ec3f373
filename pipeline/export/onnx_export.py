"""PyTorch to ONNX, with the preprocessing in the graph.

An exported file takes ``images``, uint8 [batch, height, width, 3] RGB, and returns ``logits`` and
``probabilities``, both float32 [batch, classes].
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
    """Writes a classifier and its preprocessing as one ONNX file.

    The same model gives the same bytes on every machine.

    Args:
        model: Takes normalized float32 [batch, 3, height, width] and returns logits
            [batch, classes]. It is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0 ... 1.
        std: Standard deviation of each RGB channel, for pixels in 0 ... 1.
        image_size: Height and width in pixels.
        path: The file to write.
        batch: ``dynamic``, or 1 for a fixed batch size of 1.
        opset: ONNX operator set.

    Raises:
        ExportError: ONNX cannot express the model.
    """
    program = to_onnx_program(
        WithPreprocessing(model, mean, std), image_size, path.name, batch=batch, opset=opset
    )
    save(program, path)


def to_onnx_program(
    model: WithPreprocessing,
    image_size: int,
    name: str,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
) -> ONNXProgram:
    """Exports a classifier to an ONNX program in memory.

    ``name`` is for error messages; the other arguments, and what is raised, are as for
    ``export_onnx``.
    """
    # With an example of one image, the exporter would specialize the batch to 1.
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
            f"PyTorch cannot export the model to ONNX opset {opset} ({_root_cause(error)})",
            "choose another model",
        ) from error
    assert program is not None
    return program


def save(program: ONNXProgram, path: Path) -> None:
    """Writes a program as one valid file, without the exporter's metadata on the Python source.

    The metadata contains paths of this machine, and makes a small student 10 % larger.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(program.model)
    with whole_file(path) as temporary:
        program.save(temporary, external_data=False)
        onnx.checker.check_model(temporary, full_check=True)


class WithPreprocessing(torch.nn.Module):
    """A copy of a classifier that takes uint8 [batch, height, width, 3] RGB.

    It returns logits and probabilities, both float32 [batch, classes]. Arguments as for
    ``export_onnx``.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: torch.nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        # (pixel / 255 - mean) / std as one product and one sum: fewer operators on the device.
        means, stds = torch.tensor([mean, std], dtype=torch.float64).view(2, 3, 1, 1)
        self.register_buffer("scale", (1 / (255 * stds)).float())
        self.register_buffer("shift", (-means / stds).float())
        self.cpu().eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalizes and classifies images."""
        # Transposing uint8 is faster on the device than transposing float32. `contiguous` keeps
        # channels-last strides out of the trace, which pooling would turn into a Gather.
        pixels = images.permute(0, 3, 1, 2).contiguous().float() * self.scale + self.shift
        logits: torch.Tensor = self.model(pixels)
        return logits, logits.softmax(dim=1)


def _root_cause(error: BaseException) -> str:
    """First line of the root cause; the exporter's own message is a page long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]

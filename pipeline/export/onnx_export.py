"""Exports a PyTorch model with its preprocessing to ONNX.

An exported file takes ``images``, uint8 [batch, height, width, channels], RGB or gray, and returns
``logits`` and ``probabilities``, both float32 [batch, classes].
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from finch_runtime.image_size import height_and_width
from torch.onnx import ONNXProgram

from pipeline.errors import ExportError
from pipeline.export.onnx_metadata import INPUT
from pipeline.export.onnx_versions import save_with_lowest_versions
from pipeline.files import atomic_file
from pipeline.models.classifier import Spec
from pipeline.quiet import quiet

OUTPUTS = ("logits", "probabilities")
NO_METADATA: Mapping[str, str] = MappingProxyType({})

log = logging.getLogger(__name__)


def export_onnx(
    model: torch.nn.Module,
    spec: Spec,
    path: Path,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
    metadata: Mapping[str, str] = NO_METADATA,
) -> None:
    """Writes a classifier and its preprocessing as one ONNX file.

    The same model gives the same bytes on every machine.

    Args:
        model: Takes normalized float32 [batch, channels, height, width] and returns logits
            [batch, classes]. It is copied, not changed.
        spec: Image size, and mean and standard deviation of the preprocessing.
        path: The file to write.
        batch: ``dynamic``, or 1 for a fixed batch size of 1.
        opset: ONNX operator set.
        metadata: Values of ``onnx_metadata.describe``.

    Raises:
        ExportError: ONNX cannot express the model.
    """
    whole = WithPreprocessing(model, spec)
    save(to_onnx_program(whole, path.name, batch=batch, opset=opset), path, metadata)


def to_onnx_program(
    model: WithPreprocessing, name: str, *, batch: Literal["dynamic", 1], opset: int
) -> ONNXProgram:
    """Like ``export_onnx``, but in memory; ``name`` is for error messages."""
    # With an example of one image, the exporter would specialize the batch to 1.
    shape = (*height_and_width(model.spec.image_size), model.spec.channels)
    example = torch.zeros(1 if batch == 1 else 2, *shape, dtype=torch.uint8)
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


def save(program: ONNXProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Writes a program as one valid file, with these metadata instead of the exporter's.

    The exporter's contain paths of this machine, and make a small student 10 % larger. The file
    declares the lowest IR version that its operator set allows.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(program.model)
    program.model.metadata_props.update(metadata)
    with atomic_file(path) as temporary:
        save_with_lowest_versions(program.model_proto, temporary)
        onnx.checker.check_model(temporary, full_check=True)


class WithPreprocessing(torch.nn.Module):
    """A copy of a classifier with the inputs and outputs of an exported file."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: torch.nn.Module, spec: Spec) -> None:
        super().__init__()
        self.model = _with_basic_attention(copy.deepcopy(model))
        self.spec = spec
        # (pixel / 255 - mean) / std as one product and one sum: fewer operators on the device.
        values = torch.tensor([spec.mean, spec.std], dtype=torch.float64)
        means, stds = values.view(2, spec.channels, 1, 1)
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


def _with_basic_attention(network: torch.nn.Module) -> torch.nn.Module:
    """Makes attention of timm compute with matrix products and a softmax; in place.

    The exporter replaces the fused operator by the same ones, but takes only tensors of 4
    dimensions. Attention within windows has 5 (Hiera, NesT, Twins).
    """
    for module in network.modules():
        if "fused_attn" in vars(module):
            vars(module)["fused_attn"] = False
    return network


def _root_cause(error: BaseException) -> str:
    """First line of the root cause, because the exporter's message is very long."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]

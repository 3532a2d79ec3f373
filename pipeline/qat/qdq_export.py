"""The fake-quantised student as an ONNX file with int8 weights between QDQ pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

from pipeline.export.onnx_export import WithPreprocessing, save, translate


class _Pair(nn.Module):
    """A fake quantiser as ONNX has it, for the exporter alone: it computes nothing."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, quantizer: FakeQuantize) -> None:
        super().__init__()
        per_channel = quantizer.scale.numel() > 1
        self.dtype = torch.uint8 if quantizer.quant_min == 0 else torch.int8
        self.attributes: dict[str, Any] = {"axis": int(quantizer.ch_axis)} if per_channel else {}
        shape = (-1,) if per_channel else ()
        self.register_buffer("scale", quantizer.scale.detach().reshape(shape).clone())
        self.register_buffer("zero_point", quantizer.zero_point.reshape(shape).to(self.dtype))

    def forward(self, values: Tensor) -> Tensor:
        quantized = torch.onnx.ops.symbolic(
            "QuantizeLinear",
            (values, self.scale, self.zero_point),
            self.attributes,
            dtype=self.dtype,
            shape=values.shape,
        )
        return torch.onnx.ops.symbolic(
            "DequantizeLinear",
            (quantized, self.scale, self.zero_point),
            self.attributes,
            dtype=values.dtype,
            shape=values.shape,
        )


def export_qdq(
    model: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
    path: Path,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
) -> None:
    """Writes a recovered student with the input and outputs that ``export_onnx`` gives.

    The same model gives the same bytes.

    Args:
        model: What ``FakeQuantized.native`` gives. It is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
        image_size: Height and width in pixels.
        path: The file to write.
        batch: ``dynamic``, or 1 for a file that takes one image at a time.
        opset: ONNX operator set.

    Raises:
        ExportError: The model holds something that ONNX cannot express.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    whole = WithPreprocessing(model, mean, std)
    for name, module in list(whole.named_modules()):
        if isinstance(module, FakeQuantize):
            whole.set_submodule(name, _Pair(module))
    program = translate(whole, image_size, path.name, batch=batch, opset=opset)
    # Weights come as floats to be quantised whenever the file is opened: four times the size.
    fold_constants(
        program.model,
        input_size_limit=2**62,
        output_size_limit=2**62,
        should_fold=lambda node: node.op_type != "DequantizeLinear",
    )
    RemoveUnusedNodesPass()(program.model)
    save(program, path)

"""Exports the fake-quantized student to ONNX in QDQ format, with int8 weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

from pipeline.export.onnx_export import NO_METADATA, WithPreprocessing, save, to_onnx_program
from pipeline.models.classifier import Spec


class _QDQ(nn.Module):
    """QuantizeLinear and DequantizeLinear instead of a FakeQuantize, for export only."""

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
        output, shape = values, values.shape
        operators = {"QuantizeLinear": self.dtype, "DequantizeLinear": values.dtype}
        for operator, dtype in operators.items():
            inputs = (output, self.scale, self.zero_point)
            output = torch.onnx.ops.symbolic(
                operator, inputs, self.attributes, dtype=dtype, shape=shape
            )
        return output


def export_qdq(
    model: nn.Module,
    spec: Spec,
    path: Path,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
    metadata: Mapping[str, str] = NO_METADATA,
) -> None:
    """Writes a QDQ file with the same inputs and outputs as ``export_onnx``. Deterministic.

    Args:
        model: Result of ``FakeQuantizedClassifier.strip``; not modified.
        spec: Image size, and mean and standard deviation of the preprocessing.
        path: File to write.
        batch: ``dynamic``, or 1 for a fixed batch size of 1.
        opset: ONNX operator set.
        metadata: Values of ``onnx_metadata.describe``.

    Raises:
        ExportError: ONNX has no equivalent of an operation of the model.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    whole = WithPreprocessing(model, spec)
    for name, module in list(whole.named_modules()):
        if isinstance(module, FakeQuantize):
            whole.set_submodule(name, _QDQ(module))
    program = to_onnx_program(whole, path.name, batch=batch, opset=opset)
    # The exporter writes float32 weights followed by QuantizeLinear; folding makes them int8.
    fold_constants(
        program.model,
        input_size_limit=2**62,
        output_size_limit=2**62,
        should_fold=lambda node: node.op_type != "DequantizeLinear",
    )
    RemoveUnusedNodesPass()(program.model)
    save(program, path, metadata)

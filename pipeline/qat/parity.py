"""Parity of a QDQ file with PyTorch's fake quantization, checked at every activation quantizer.

Comparing only the logits does not detect all errors. Float rounding can move a value across a
rounding boundary, which changes it by a whole quantization step, and the change propagates through
all layers. When PyTorch sums its convolutions in another order, the logits of a network with 50
layers change by 6 % of the largest logit (benchmarks/rounding.py), as much as with a wrong scale.

Therefore each quantized value of the file is compared with PyTorch's value before quantization. The
two may differ by half a quantization step plus float rounding. PyTorch then continues with the
file's value, so that the logits differ by float rounding only.
"""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

from pipeline.errors import ExportError
from pipeline.export.onnx_export import OUTPUTS
from pipeline.export.onnx_metadata import INPUT
from pipeline.export.parity import (
    Outputs,
    Parity,
    check_io_contract,
    compare_outputs,
    normalize_images,
)
from pipeline.models.classifier import Spec


def check_qdq_parity(
    model: nn.Module, spec: Spec, path: Path, images: NDArray[np.uint8], *, tolerance: float
) -> Parity:
    """Compares a QDQ file with PyTorch as ``check_parity`` does, and at every activation quantizer.

    ONNX Runtime runs the graph without optimizations, since the optimized graph rounds elsewhere.

    Args:
        model: Exported model, from ``FakeQuantizedClassifier.strip``; not modified.
        spec: Mean and standard deviation of the preprocessing.
        path: QDQ file.
        images: Real images, uint8 [n, height, width, channels], at least as many as the largest
            batch.
        tolerance: Largest accepted difference beyond quantization, relative to the largest value of
            an activation or the largest |logit| of an image; absolute for probabilities.

    Raises:
        ExportError: Inputs or outputs of the file are wrong, or a value differs from PyTorch's; the
            message names the quantizer and the difference.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    open_session = partial(
        onnxruntime.InferenceSession, sess_options=options, providers=["CPUExecutionProvider"]
    )
    preprocess = partial(normalize_images, spec=spec)
    with torch.inference_mode():
        classes = model(preprocess(images[:1])).shape[1]
    check_io_contract(open_session(path), path, images.shape[1:], classes)
    graph = onnx.load(path)
    names = _quantized_activations(graph)
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(graph.SerializeToString())

    reference = copy.deepcopy(model).cpu().eval()
    from_file: deque[NDArray[np.float32]] = deque()
    weights = {weight.untyped_storage().data_ptr() for weight in reference.parameters()}
    for name, module in reference.named_modules():
        if isinstance(module, FakeQuantize):
            hook = _CompareHook(f"{path.name}, {name}", from_file, weights, tolerance)
            module.register_forward_hook(hook)

    def run(chosen: slice) -> Outputs:
        logits, probabilities, *values = session.run([*OUTPUTS, *names], {INPUT: images[chosen]})
        from_file.extend(values)
        with torch.inference_mode():
            expected = reference(preprocess(images[chosen])).numpy()
        if from_file:
            problem = f"has {len(names)} activation quantizers, PyTorch has "
            problem += f"{len(names) - len(from_file)}"
            remedy = "set qat.epochs to 0, or choose another distill.model"
            raise ExportError(path.name, problem, remedy)
        return logits, probabilities, expected

    return compare_outputs(session, path, run, len(images), tolerance=tolerance)


@dataclass(frozen=True)
class _CompareHook:
    """Forward hook of a FakeQuantize that compares its output and replaces it by the file's."""

    name: str  # file and quantizer, for messages
    from_file: deque[NDArray[np.float32]]  # the file's outputs that are not yet compared
    weights: set[int]  # addresses of the weights, whose quantizers are skipped
    tolerance: float

    def __call__(self, quantizer: FakeQuantize, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        (values,) = inputs
        if values.untyped_storage().data_ptr() in self.weights:
            return output
        if not self.from_file:
            raise self._error("the file has no quantizer")
        rounded = torch.from_numpy(self.from_file.popleft())
        if rounded.shape != values.shape:
            raise self._error(f"its shape is {list(rounded.shape)}, not {list(values.shape)}")
        shape = [1] * values.dim()
        if quantizer.scale.numel() > 1:
            shape[quantizer.ch_axis] = -1
        step, zero = quantizer.scale.view(shape), quantizer.zero_point.view(shape)
        low, high = (quantizer.quant_min - zero) * step, (quantizer.quant_max - zero) * step
        clipped = torch.clamp(values, low, high)
        excess = ((rounded - clipped).abs() - step / 2).max() / clipped.abs().max()
        # NaN fails the comparison. If all values are 0, the excess is 0 / 0.
        if not (excess <= self.tolerance or torch.equal(rounded, clipped)):
            steps = ((rounded - clipped).abs() / step).max()
            raise self._error(f"a value differs by {steps:.3g} quantization steps, not 0.5")
        return rounded

    def _error(self, problem: str) -> ExportError:
        fix = "export these weights again, or raise export.tolerance"
        return ExportError(self.name, f"is not quantized as in PyTorch: {problem}", fix)


def _quantized_activations(model: onnx.ModelProto) -> list[str]:
    """Outputs of QuantizeLinear-DequantizeLinear pairs, in the order of execution."""
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantized
    ]

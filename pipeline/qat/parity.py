"""Parity of a QDQ file with PyTorch's fake quantization, checked at every quantizer.

Comparing only the logits proves little. A value near a rounding boundary may be rounded up here
and down there, which changes it by a whole quantization step, and every layer propagates that: the
logits of a network of fifty layers change by 6 % of the largest when PyTorch itself sums its
convolutions in another order (benchmarks/rounding.py), as much as a wrong scale would change them.

So the comparison is step by step. What PyTorch computes before a quantizer is compared with the
file's quantized value; they may differ by half a step plus float rounding. PyTorch then continues
with the file's value, which leaves only float rounding between the logits.
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
from pipeline.export.onnx_export import INPUT, OUTPUTS
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
    """Compares a QDQ file with PyTorch as ``check_parity`` does, and at every quantizer.

    ONNX Runtime runs the graph without optimizations. The optimized graph rounds at other places;
    that is measured as the accuracy of the candidate.

    Args:
        model: Exported model, from ``FakeQuantizedClassifier.strip``; not changed.
        spec: Mean and standard deviation of the preprocessing.
        path: QDQ file.
        images: Real images, uint8 [n, height, width, 3] RGB, at least as many as the largest batch.
        tolerance: Largest accepted difference beyond rounding, relative to the largest value of an
            activation or to the largest |logit| of an image; for probabilities, absolute.

    Raises:
        ExportError: Inputs or outputs do not follow the contract, or a value differs; the message
            names the quantizer and the difference.
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
            place = f"{path.name}, {name}"
            module.register_forward_hook(_CompareHook(place, from_file, weights, tolerance))

    def run(chosen: slice) -> Outputs:
        logits, probabilities, *values = session.run([*OUTPUTS, *names], {INPUT: images[chosen]})
        from_file.extend(values)
        with torch.inference_mode():
            expected = reference(preprocess(images[chosen])).numpy()
        if from_file:
            raise ExportError(
                path.name,
                f"has {len(names)} activation quantizers, PyTorch {len(names) - len(from_file)}",
                "set qat.epochs to 0, or choose another distill.model",
            )
        return logits, probabilities, expected

    return compare_outputs(session, path, run, len(images), tolerance=tolerance)


@dataclass(frozen=True)
class _CompareHook:
    """Forward hook of an activation's FakeQuantize: replaces its output by the file's.

    Attributes:
        place: File and name of the quantizer, for messages.
        from_file: The file's outputs that are still to be compared.
        weights: Addresses of the weights, whose quantizers are left alone.
        tolerance: Largest accepted difference beyond rounding.
    """

    place: str
    from_file: deque[NDArray[np.float32]]
    weights: set[int]
    tolerance: float

    def __call__(
        self, quantizer: FakeQuantize, inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        (values,) = inputs
        if values.untyped_storage().data_ptr() in self.weights:
            return output
        if not self.from_file:
            raise self._error("the file does not quantize there")
        rounded = torch.from_numpy(self.from_file.popleft())
        if rounded.shape != values.shape:
            raise self._error(f"shape {list(rounded.shape)}, not {list(values.shape)}")
        shape = [1] * values.dim()
        if quantizer.scale.numel() > 1:
            shape[quantizer.ch_axis] = -1
        step, zero = quantizer.scale.view(shape), quantizer.zero_point.view(shape)
        low, high = (quantizer.quant_min - zero) * step, (quantizer.quant_max - zero) * step
        clipped = torch.clamp(values, low, high)
        excess = ((rounded - clipped).abs() - step / 2).max() / clipped.abs().max()
        # NaN fails the comparison. An activation of zeros has no relative excess.
        if not (excess <= self.tolerance or torch.equal(rounded, clipped)):
            steps = ((rounded - clipped).abs() / step).max()
            raise self._error(f"a value is {steps:.3g} steps from PyTorch's before rounding")
        return rounded

    def _error(self, problem: str) -> ExportError:
        fix = "export these weights again, or raise export.tolerance"
        return ExportError(self.place, f"is not quantized as in PyTorch: {problem}", fix)


def _quantized_activations(model: onnx.ModelProto) -> list[str]:
    """Outputs of the QuantizeLinear-DequantizeLinear pairs, in order of computation."""
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantized
    ]

"""The proof that a file of QDQ pairs rounds as PyTorch's fake quantisation does, and where.

The logits of the two say little. A value beside a rounding boundary falls to one side here and to
the other there, is then a whole step away, and every layer hands that on: the logits of a network
of fifty layers move by 6 % of the largest when PyTorch itself adds up its convolutions in another
order (benchmarks/rounding.py), as far as a wrong scale would move them.

So they are held to one another step by step. What PyTorch computes before a rounding is compared
with what the file rounded it to, which may be away by half a step and what floats differ by; then
PyTorch goes on with the file's value. What is left between the logits is the floats' as well.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Sequence
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
    BATCHES,
    Answer,
    Parity,
    check_contract,
    compare,
    normalised,
    sizes,
)


def check_roundings(
    model: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    path: Path,
    images: NDArray[np.uint8],
    batches: Sequence[int] = BATCHES,
    *,
    tolerance: float,
) -> Parity:
    """Holds a recovered student's file to PyTorch as ``check_parity`` does, and at each rounding.

    ONNX Runtime runs the graph as it is written. What it makes of it on a device rounds at other
    places; that is measured as a candidate's accuracy.

    Args:
        model: What ``FakeQuantized.native`` gives, and was exported; it is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
        path: The exported file.
        images: Real images, uint8 [n, height, width, 3] RGB, at least as many as the largest batch.
        batches: Batch sizes to try.
        tolerance: Largest accepted difference beyond rounding, relative to the largest value of
            an activation, or to the largest |logit| of an image; also of a probability, absolute.

    Raises:
        ExportError: The file does not keep to the contract, or it computes or rounds otherwise
            than the model; the message says where and by how much.
    """
    turn_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    opened = partial(
        onnxruntime.InferenceSession, sess_options=options, providers=["CPUExecutionProvider"]
    )
    with torch.inference_mode():
        classes = model(normalised(images[:1], mean, std)).shape[1]
    check_contract(opened(path), path, images.shape[1:], classes)
    graph = onnx.load(path)
    rounded = _rounded(graph)
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in rounded)
    session = opened(graph.SerializeToString())

    followed = copy.deepcopy(model).cpu().eval()
    taken: deque[NDArray[np.float32]] = deque()
    weights = {weight.untyped_storage().data_ptr() for weight in followed.parameters()}
    for name, module in list(followed.named_modules()):
        if isinstance(module, FakeQuantize):
            followed.set_submodule(name, _Followed(module, name, path, taken, weights, tolerance))

    def answer(chosen: slice) -> Answer:
        logits, probabilities, *values = session.run([*OUTPUTS, *rounded], {INPUT: images[chosen]})
        taken.extend(values)
        with torch.inference_mode():
            expected = followed(normalised(images[chosen], mean, std)).numpy()
        if taken:
            raise ExportError(
                path.name,
                f"rounds at {len(rounded)} places, PyTorch at {len(rounded) - len(taken)}",
                "set qat.epochs to 0, or take another distill.model",
            )
        return Answer(logits, probabilities, expected)

    return compare(path, answer, len(images), sizes(session, batches), tolerance=tolerance)


class _Followed(nn.Module):
    """Stands for a fake quantiser: what it gives on is what the file rounded the same values to."""

    def __init__(
        self,
        quantizer: FakeQuantize,
        name: str,
        path: Path,
        taken: deque[NDArray[np.float32]],
        weights: Iterable[int],
        tolerance: float,
    ) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.name = name
        self.path = path
        self.taken = taken
        self.weights = weights
        self.tolerance = tolerance

    def forward(self, values: Tensor) -> Tensor:
        if values.untyped_storage().data_ptr() in self.weights:
            rounded: Tensor = self.quantizer(values)
            return rounded
        if not self.taken:
            raise self._refused("it is not rounded there")
        rounded = torch.from_numpy(self.taken.popleft())
        if rounded.shape != values.shape:
            raise self._refused(f"it has {list(rounded.shape)} values, not {list(values.shape)}")
        low, high, step = self._range(values.dim())
        inside = torch.clamp(values, low, high)
        beyond = ((rounded - inside).abs() - step / 2).max() / inside.abs().max()
        # NaN is beyond any tolerance, too; of nothing but zeros, nothing may be left.
        if not (beyond <= self.tolerance or torch.equal(rounded, inside)):
            steps = ((rounded - inside).abs() / step).max()
            raise self._refused(f"a value is {steps:.3g} steps from what it was before rounding")
        return rounded

    def _range(self, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
        """The lowest and the highest value, and the step: of all, or one a channel."""
        quantizer, shape = self.quantizer, [1] * dimensions
        if quantizer.scale.numel() > 1:
            shape[quantizer.ch_axis] = -1
        step, zero = quantizer.scale.view(shape), quantizer.zero_point.view(shape)
        return (quantizer.quant_min - zero) * step, (quantizer.quant_max - zero) * step, step

    def _refused(self, what: str) -> ExportError:
        return ExportError(
            self.path.name,
            f"does not round as PyTorch's fake quantisation at {self.name}: {what}",
            "export it again from these weights, or raise export.tolerance",
        )


def _rounded(model: onnx.ModelProto) -> list[str]:
    """The values that leave a QDQ pair, in order of computation."""
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in quantized
    ]

"""Layers of an exported student, which mixed precision can keep in float."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """An operator with weights, and the operators up to the next one with weights.

    Attributes:
        name: Module of the PyTorch model, if the exporter kept it; otherwise the ONNX node.
        nodes: Names of the ONNX nodes, the operator with weights first.
        weights: Number of weights, without biases.
        multiply_adds: Number of multiply-adds per image.
    """

    name: str
    nodes: tuple[str, ...]
    weights: int
    multiply_adds: int


def find_layers(model: ModelProto) -> tuple[Layer, ...]:
    """Layers of a model, in order of execution.

    An operator without weights, such as an activation or the sum of a residual, belongs to the last
    layer that it depends on. Operators before the first weights, and softmax, belong to no layer.
    """
    graph = model.graph
    weights = {w.name: tuple(w.dims) for w in graph.initializer}
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.value_info, *graph.output)
    }
    found: list[list[NodeProto]] = []
    owners: dict[str, int] = {}  # the last layer that each tensor depends on
    for node in graph.node:
        if node.op_type in _WEIGHTED and len(weights.get(node.input[1], ())) > 1:
            layer = len(found)
            found.append([node])
        else:
            inputs = [owners[name] for name in node.input if name in owners]
            if not inputs:
                continue
            layer = max(inputs)
            if node.op_type != "Softmax":
                found[layer].append(node)
        owners.update(dict.fromkeys(node.output, layer))
    layers = []
    for first, *others in found:
        count, shape = math.prod(weights[first.input[1]]), shapes.get(first.output[0], ())
        # Each weight is used once per position of the output.
        positions = math.prod(shape[2:] if first.op_type.startswith("Conv") else shape[1:-1])
        nodes = tuple(node.name for node in (first, *others))
        layers.append(Layer(_module(first), nodes, count, count * positions))
    return tuple(layers)


def _module(node: NodeProto) -> str:
    """Module of a weight: ``features.0`` for ``model.features.0.weight``."""
    path, _, parameter = str(node.input[1]).rpartition(".")
    return path.removeprefix("model.") if path and parameter == "weight" else str(node.name)

"""The layers of an exported student: what int8 can leave in float, by names a user knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """An operator with weights, and what is done to its output before the next one's weights.

    Attributes:
        name: Its module in the PyTorch model, where the exporter keeps that; else its ONNX node.
        nodes: Names of its ONNX nodes, the one with the weights first.
        weights: Number of its weights, without biases.
        multiply_adds: Of one image.
    """

    name: str
    nodes: tuple[str, ...]
    weights: int
    multiply_adds: int


def find_layers(model: ModelProto) -> tuple[Layer, ...]:
    """The layers of a model in the order in which they run.

    An operator without weights, such as an activation or the sum of a residual, belongs to the last
    layer that it depends on. What comes before the first weights, and softmax, belongs to none.
    """
    graph = model.graph
    weights = {w.name: tuple(w.dims) for w in graph.initializer}
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.value_info, *graph.output)
    }
    first: list[NodeProto] = []
    nodes: list[list[str]] = []
    maker: dict[str, int] = {}  # of a tensor: the last layer that it depends on
    for node in graph.node:
        if node.op_type in _WEIGHTED and len(weights.get(node.input[1], ())) > 1:
            layer = len(first)
            first.append(node)
            nodes.append([node.name])
        else:
            layers = [maker[name] for name in node.input if name in maker]
            if not layers:
                continue
            layer = max(layers)
            if node.op_type != "Softmax":
                nodes[layer].append(node.name)
        maker.update(dict.fromkeys(node.output, layer))
    return tuple(
        Layer(
            name=_module(node),
            nodes=tuple(names),
            weights=math.prod(weights[node.input[1]]),
            multiply_adds=math.prod(weights[node.input[1]])
            * _places(node, shapes.get(node.output[0], ())),
        )
        for node, names in zip(first, nodes, strict=True)
    )


def _module(node: NodeProto) -> str:
    """``model.blocks.0.0.conv_pw.weight``: the exporter's wrapper, the module, its parameter."""
    path, _, parameter = str(node.input[1]).rpartition(".")
    return path.removeprefix("model.") if path and parameter == "weight" else str(node.name)


def _places(node: NodeProto, shape: tuple[int, ...]) -> int:
    """How often one image uses each weight: once a position of the output."""
    return math.prod(shape[2:] if node.op_type.startswith("Conv") else shape[1:-1])

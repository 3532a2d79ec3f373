"""A linear classifier of pixels."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.measure.runtime import MeasuredModel

SIZE, CLASSES = 4, 3


def write_model(path, *, batch="batch", scale=0.01):
    """Writes a linear classifier with the inputs and outputs of exported models."""
    weights = np.random.default_rng(1).normal(0, scale, (SIZE * SIZE * 3, CLASSES))
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    shape = [batch, SIZE, SIZE, 3]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, CLASSES])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return MeasuredModel(path, "onnxruntime")

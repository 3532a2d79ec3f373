"""A model that tells dark images from bright ones."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.files import hash_file
from pipeline.shipping.bundle import BundleSpec

SIZE = 16
LABELS = ("dark", "süß & bright")


def write_onnx(path):
    """Classifies images as dark or bright by the sum of their pixels."""
    weights = np.tile(np.float32([-1, 1]) / SIZE**2 / 3 / 32, (SIZE * SIZE * 3, 1))
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["sums"]),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
            for name in ("logits", "probabilities")
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.float32([4, -4]), "bias"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)


def bundle_spec(*files, **changes):
    """A bundle of the model in these files, as they are now."""
    spec = BundleSpec(
        name="birds-1.0",
        files=files,
        hashes={path: hash_file(path) for path in files},
        runtime="onnxruntime",
        precision="fp32",
        batch="dynamic",
        portable=None,
        labels=LABELS,
        image_size=SIZE,
        channels=3,
        fit="crop",
        threads=2,
        requirements="numpy==1.26.4\nonnxruntime==1.19.2\n",
        record={},
        data_license=None,
    )
    return replace(spec, **changes)

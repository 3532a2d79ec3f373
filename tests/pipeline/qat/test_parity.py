"""Parity of a QDQ file with PyTorch at every activation quantizer; needs a C++ compiler."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import ExportError
from pipeline.models.classifier import build_classifier
from pipeline.models.pretrained import init_classifier
from pipeline.models.reparameterize import reparameterize
from pipeline.params import load_params
from pipeline.qat.fake_quantize import FakeQuantizedClassifier, fake_quantize
from pipeline.qat.parity import check_qdq_parity
from pipeline.qat.qdq_export import export_qdq
from tests.pipeline.qat.conftest import random_split, student
from tests.small_project import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kernels")]

IMAGES = np.array(random_split(16, seed=1).images)
LARGE = 64
NOISE = np.random.default_rng(0).integers(0, 256, (16, LARGE, LARGE, 3), dtype=np.uint8)


def check(model: FakeQuantizedClassifier, path: Path, images: NDArray[np.uint8] = IMAGES) -> Any:
    return check_qdq_parity(model.strip(), model.spec, path, images, tolerance=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeQuantizedClassifier, Path]:
    model = fake_quantize(student(0), IMAGES)
    path = tmp_path_factory.mktemp("qdq") / "student.onnx"
    export_qdq(model.strip(), model.spec, path, batch="dynamic", opset=18)
    return model, path


def change(graph: onnx.GraphProto, name: str, by: Callable[[Any], Any]) -> None:
    stored = next(values for values in graph.initializer if values.name == name)
    values = numpy_helper.to_array(stored)
    changed = np.asarray(by(values.copy()), dtype=values.dtype)
    stored.CopyFrom(numpy_helper.from_array(changed, name))


def quantizer(graph: onnx.GraphProto, index: int) -> onnx.NodeProto:
    return [node for node in graph.node if node.op_type == "QuantizeLinear"][index]


def scale(graph: onnx.GraphProto) -> None:
    change(graph, quantizer(graph, 2).input[1], lambda values: values * np.float32(1.01))


def zero_point(graph: onnx.GraphProto) -> None:
    node = quantizer(graph, 2)
    stored = {values.name: values for values in graph.initializer}
    moved = numpy_helper.to_array(stored[node.input[2]]) + 3
    graph.initializer.append(numpy_helper.from_array(moved.astype(np.uint8), "moved"))
    for user in graph.node:
        if user is node or node.output[0] in user.input:
            user.input[2] = "moved"


def weight(graph: onnx.GraphProto) -> None:
    def step(values: Any) -> Any:
        values.flat[7] += 1
        return values

    kernels = (v for v in graph.initializer if v.data_type == onnx.TensorProto.INT8 and v.dims)
    change(graph, next(v.name for v in kernels if len(v.dims) == 4), step)


def bias(graph: onnx.GraphProto) -> None:
    layer = next(node for node in graph.node if node.op_type == "Conv")
    change(graph, layer.input[2], lambda values: values * np.nan)


def missing(graph: onnx.GraphProto) -> None:
    first = quantizer(graph, -1)
    last = next(node for node in graph.node if first.output[0] in node.input)
    for node in graph.node:
        node.input[:] = [first.input[0] if n == last.output[0] else n for n in node.input]
    graph.node.remove(first)
    graph.node.remove(last)


def surplus(graph: onnx.GraphProto) -> None:
    step = numpy_helper.from_array(np.array(0.1, np.float32), "step")
    graph.initializer.append(step)
    for operator, source, target in (
        ("QuantizeLinear", "logits", "steps"),
        ("DequantizeLinear", "steps", "rounded"),
    ):
        graph.node.append(onnx.helper.make_node(operator, [source, "step"], [target]))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (scale, r"student\.onnx, \S+: .*a value differs by \S+ quantization steps"),
        (zero_point, r"student\.onnx, \S+: .*a value differs by \S+ quantization steps"),
        (weight, r"student\.onnx, \S+: .*a value differs by \S+ quantization steps"),
        (bias, r"student\.onnx, \S+: .*a value differs by \S+ quantization steps"),
        (missing, r"student\.onnx, \S+: .*the file has no quantizer"),
        (surplus, r"has 8 activation quantizers, PyTorch has 7"),
    ],
)
def test_error_of_one_quantization_step_names_the_quantizer(
    exported: tuple[FakeQuantizedClassifier, Path], tmp_path: Path, fault: Any, expected: str
) -> None:
    model, path = exported
    check(model, path)
    file = onnx.load(path)
    fault(file.graph)
    onnx.save(file, tmp_path / "student.onnx")
    with pytest.raises(ExportError, match=expected):
        check(model, tmp_path / "student.onnx")


@pytest.fixture(scope="module")
def deep() -> FakeQuantizedClassifier:
    """A network of fifty layers with TensorFlow padding, which depends on the input size."""
    torch.manual_seed(0)
    network = load_params(PROJECT / "params.yaml").finetune
    return fake_quantize(init_classifier(network, ("a", "b", "c"), LARGE).model, NOISE)


def write(model: FakeQuantizedClassifier, path: Path, batch: Any) -> Path:
    export_qdq(model.strip(), model.spec, path, batch=batch, opset=18)
    return path


@pytest.mark.parametrize("batch", ["dynamic", 1])
def test_fifty_layers_agree_at_every_quantizer(
    deep: FakeQuantizedClassifier, tmp_path: Path, batch: Any
) -> None:
    path = write(deep, tmp_path / "student.onnx", batch)
    parity = check(deep, path, NOISE)
    assert parity.worst.relative < 1e-5
    assert [d.batch for d in parity.differences] == ([1] if batch == 1 else [1, 2, 7])
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert not {"Gather", "Pad", "Shape"} & kinds
    assert onnx.load(path).ir_version == 8
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape == ["batch" if batch == "dynamic" else 1, 3]


def test_a_network_is_quantized_in_its_form_for_inference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = build_classifier("repghostnet_050", ("a", "b", "c"), LARGE)
    with torch.no_grad():
        for _ in range(3):
            plain(torch.rand(8, 3, LARGE, LARGE))
    before = plain.eval().state_dict().keys()
    model = fake_quantize(plain, NOISE)
    convolutions = [m for m in reparameterize(plain).modules() if isinstance(m, torch.nn.Conv2d)]
    exported = onnx.load(write(model, tmp_path / "student.onnx", 1)).graph.node
    assert sum(node.op_type == "Conv" for node in exported) == len(convolutions)
    assert not any(node.op_type == "BatchNormalization" for node in exported)
    check(model, tmp_path / "student.onnx", NOISE)
    assert plain.state_dict().keys() == before


def test_onnx_runtime_runs_every_convolution_in_int8(
    deep: FakeQuantizedClassifier, tmp_path: Path
) -> None:
    """Even if training has made ranges slightly wider."""
    trained = copy.deepcopy(deep)
    with torch.no_grad():
        for name, values in trained.named_parameters():
            if name.endswith("_input_range_param_storage"):
                values *= 1.00001
            elif name.endswith("input_low"):
                values -= 0.01
    path = write(trained, tmp_path / "student.onnx", "dynamic")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["QLinearConv"] == 49
    assert not {"Clip", "Conv", "FusedConv"} & set(kinds)

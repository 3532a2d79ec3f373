from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import MeasurementError
from pipeline.measure.latency import measure_latency
from pipeline.measure.predictions import predict
from pipeline.measure.runtime import MeasuredModel

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"
SIZE, CLASSES = 4, 3


def write_model(path, *, batch="batch", scale=0.01):
    """A linear classifier of the pixels, under the contract of every model that ships."""
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


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8))
    return path


@pytest.mark.parametrize("batch", ["batch", 1])
def test_logits_are_those_of_the_bare_runtime(tmp_path, images, batch):
    model = write_model(tmp_path / "model.onnx", batch=batch)
    logits = predict(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    expected = [session.run(["logits"], {"images": i[None]})[0][0] for i in np.load(images)]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_logits_that_are_not_finite_are_refused_by_name(tmp_path, images):
    model = write_model(tmp_path / "model.onnx", scale=np.inf)
    with pytest.raises(MeasurementError, match=r"model\.onnx: its logits of 70 of 70 images"):
        predict(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)


def test_a_damaged_model_is_named(tmp_path, images):
    model = write_model(tmp_path / "model.onnx")
    model.path.write_bytes(model.path.read_bytes()[:300])
    with pytest.raises(MeasurementError, match=r"model\.onnx: could not be run: .*cannot load it"):
        predict(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)


def test_the_device_runtime_times_what_it_is_asked_to(tmp_path, images):
    models = {name: write_model(tmp_path / f"{name}.onnx") for name in ("a", "b")}
    found = measure_latency(
        models, images, rounds=2, runs=12, warmup=1, threads=1, runtime_folder=RUNTIME_FOLDER
    )
    assert list(found) == ["a", "b"]
    for latency in found.values():
        assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p99_ms <= latency.max_ms
        assert (latency.runs, len(latency.round_p50s_ms), latency.threads) == (24, 2, 1)
        assert latency.runtime_version == onnxruntime.__version__

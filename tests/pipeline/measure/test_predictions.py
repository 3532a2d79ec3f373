from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pipeline.errors import MeasurementError
from pipeline.measure.latency import measure_latency
from pipeline.measure.predictions import predict
from tests.pipeline.measure.linear_model import write_model

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"


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

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pipeline.errors import MeasurementError
from pipeline.measure.latency import Stopping, measure_latency
from pipeline.measure.predictions import measure_logits
from pipeline.measure.throughput import measure_throughput
from tests.pipeline.measure.linear_model import write_model

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"


@pytest.mark.parametrize("batch", ["batch", 1])
def test_logits_are_those_of_the_bare_runtime(tmp_path, images, batch):
    model = write_model(tmp_path / "model.onnx", batch=batch)
    logits = measure_logits(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    expected = [session.run(["logits"], {"images": i[None]})[0][0] for i in np.load(images)]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_logits_that_are_not_finite_are_refused_by_name(tmp_path, images):
    model = write_model(tmp_path / "model.onnx", scale=np.inf)
    with pytest.raises(MeasurementError, match=r"model\.onnx: its logits of 70 of 70 images"):
        measure_logits(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)


def test_a_damaged_model_is_named(tmp_path, images):
    model = write_model(tmp_path / "model.onnx")
    model.path.write_bytes(model.path.read_bytes()[:300])
    with pytest.raises(MeasurementError, match=r"model\.onnx: could not be run: .*cannot load it"):
        measure_logits(model, images, threads=1, runtime_folder=RUNTIME_FOLDER)


def test_the_device_runtime_times_what_it_is_asked_to(tmp_path, images):
    models = {name: write_model(tmp_path / f"{name}.onnx") for name in ("a", "b")}
    found = measure_latency(
        models,
        images,
        reference="a",
        stopping=Stopping(rounds=2, max_rounds=2, minutes=1, settled=0.05),
        turns=3,
        runs=4,
        warmup=1,
        warmup_seconds=0,
        threads=1,
        runtime_folder=RUNTIME_FOLDER,
    )
    assert list(found.latencies) == ["a", "b"] and found.count == 2
    for latency in found.latencies.values():
        assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p99_ms <= latency.max_ms
        assert (latency.runs, len(latency.round_p50s_ms), latency.threads) == (24, 2, 1)
        assert latency.runtime_version == onnxruntime.__version__
    assert found.latencies["a"].round_ratios == [1, 1]
    assert found.demands["b"].peak_bytes > found.demands["b"].bare_bytes > 1e6
    assert found.demands["b"].runtime_bytes > 1e7
    assert len(found.moments) == 4


def test_throughput_is_measured_with_every_number_of_threads(tmp_path, images):
    found = measure_throughput(
        write_model(tmp_path / "model.onnx"),
        images,
        threads=[2, 1],
        batches=[1, 3],
        sustained_seconds=0.1,
        runtime_folder=RUNTIME_FOLDER,
    )
    assert [(run.threads, [r.batch for r in run.rates]) for run in found.sweep] == [
        (2, [1, 3]),
        (1, [1, 3]),
    ]
    assert all(run.p50_ms > 0 for run in found.sweep)
    assert found.best.images_per_s == max(r.images_per_s for r in found.sweep[0].rates)
    assert found.sustained.moments[-1].at_s >= 0.1


def test_without_batches_there_is_no_throughput(tmp_path, images):
    found = measure_throughput(
        write_model(tmp_path / "model.onnx", batch=1),
        images,
        threads=[1],
        batches=[],
        sustained_seconds=0,
        runtime_folder=RUNTIME_FOLDER,
    )
    assert found.best is None and found.sustained is None

"""Models that return the same logits for all images."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import DeviceError
from pipeline.measure.evaluate import _DeviceRun
from pipeline.measure.runtime import MeasuredModel
from pipeline.progress import silent


@pytest.mark.parametrize("broken", ["int8", "fp32"])
def test_a_candidate_that_returns_constants_is_excluded(tmp_path, broken):
    """Its accuracy would be that of one class."""
    varied = np.float32([[1, 2], [2, 1]])

    def predict(model, images, threads):
        return varied * (model.path.name != broken)

    runtime = SimpleNamespace(predict=predict, device=SimpleNamespace(name="local"))
    models = {name: MeasuredModel(tmp_path / name, "onnxruntime") for name in ("fp32", "int8")}
    params, images = SimpleNamespace(threads=1), tmp_path / "images.npy"
    run = _DeviceRun(models, "fp32", images, runtime, params, silent)
    if broken == "fp32":  # the reference of all comparisons
        with pytest.raises(DeviceError, match="same logits"):
            run.measure_logits()
    else:
        assert list(run.measure_logits()) == ["fp32"]
        assert "same logits" in run.problems["int8"]

"""Candidates on two devices, the second one over OpenSSH."""

import json
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepared import Split
from pipeline.errors import ArtifactError, DeviceError
from pipeline.measure.evaluate import EvaluationInputs, evaluate_devices
from pipeline.params import Evaluate
from tests.pipeline.measure.linear_model import write_model
from tests.pipeline.measure.ssh_server import (
    write_dropping_python,
    write_python,
)

pytestmark = pytest.mark.slow

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"


@dataclass
class Prepared:
    """The part of PreparedData that is used."""

    path: Path
    labels: np.ndarray
    fingerprint: str = "da" * 32

    def images_path(self, split):
        assert split == "val"
        return self.path

    def split(self, split):
        assert split == "val"
        return Split(np.load(self.path), self.labels)


@pytest.fixture
def run(tmp_path, images, listed):
    folder = tmp_path / "candidates"
    made = []
    for name, runtime, model in (
        ("fp32", "onnxruntime", "model.onnx"),
        ("vino", "openvino", "model.xml"),
    ):
        (folder / name).mkdir(parents=True)
        path = folder / name / model
        if runtime == "onnxruntime":
            write_model(path)
        else:
            import openvino

            openvino.save_model(openvino.convert_model(folder / "fp32/model.onnx"), path)
        made.append(
            {
                "name": name,
                "runtime": runtime,
                "precision": "fp32",
                "batch": "dynamic",
                "runtime_version": metadata.version(runtime),
                "model": f"{name}/{model}",
                "bytes": 7,
            }
        )
    (folder / "candidates.json").write_text(json.dumps({"candidates": made, "reference": "fp32"}))
    teacher = tmp_path / "teacher.onnx"
    write_model(teacher, scale=0.02)
    data = Prepared(images, np.arange(70) % 3)

    def run(python=sys.executable, hosts=("local", "pi"), **entry):
        params = Evaluate.model_validate(
            {
                "devices": [{"name": "local"}, listed(python=python, **entry).model_dump()],
                "rounds": 3,
                "max_rounds": 3,
                "turns": 3,
                "runs": 10,
                "warmup": 1,
                "warmup_seconds": 0,
                "batches": [1],
            }
        )
        evaluations = []
        inputs = EvaluationInputs(folder, teacher, data, RUNTIME_FOLDER)
        facts = {name: {} for name in hosts}
        try:
            for evaluation in evaluate_devices(inputs, params, facts, tmp_path / "cache"):
                evaluations.append(evaluation)
        except DeviceError as error:
            return evaluations, error
        return evaluations, None

    return run


def test_finished_devices_are_kept_after_a_failure(run, tmp_path):
    (here,), error = run(python=write_dropping_python(tmp_path / "python"))
    assert error.thing == "pi" and "the connection was lost" in error.problem
    (again, there), error = run()
    assert error is None
    assert again == here, "the first device is not measured again"
    assert (here.device, there.device) == ("local", "pi")
    assert [m.name for m in there.candidates] == ["fp32", "vino"]
    for m, other in zip(here.candidates, there.candidates, strict=True):
        assert (m.accuracy, m.recalls, m.drop) == (other.accuracy, other.recalls, other.drop)
    assert there.teacher.accuracy == here.teacher.accuracy
    assert there.not_run == there.notes == []
    assert not (tmp_path / "cache").exists()


def test_a_candidate_that_a_device_cannot_run_is_listed(run, tmp_path):
    first = tmp_path / "first"
    (first / "openvino").mkdir(parents=True)
    (first / "openvino/__init__.py").write_text("raise ImportError('made for another CPU')")
    (here, there), error = run(python=write_python(tmp_path / "python", first))
    assert error is None
    assert [m.name for m in here.candidates] == ["fp32", "vino"]
    assert [m.name for m in there.candidates] == ["fp32"]
    (not_run,) = there.not_run
    assert (not_run.name, not_run.bytes) == ("vino", 7)
    assert "openvino: cannot be imported: made for another CPU" in not_run.problem


def test_another_version_of_the_runtime_is_noted(run, tmp_path):
    import onnxruntime

    first = tmp_path / "first"
    (first / "onnxruntime").mkdir(parents=True)
    real = Path(onnxruntime.__file__).parent
    (first / "onnxruntime/__init__.py").write_text(
        f"__path__ = [{str(real)!r}]\n"
        f"exec(open({str(real / '__init__.py')!r}).read())\n__version__ = '1.0.7'\n"
    )
    (here, there), error = run(python=write_python(tmp_path / "python", first))
    assert error is None
    assert here.notes == []
    (note,) = there.notes
    for text in ("pi", "onnxruntime 1.0.7", f"onnxruntime {onnxruntime.__version__}"):
        assert text in note


def test_a_device_that_cannot_run_the_reference_fails(run, tmp_path):
    first = tmp_path / "first"
    (first / "onnxruntime").mkdir(parents=True)
    (first / "onnxruntime/__init__.py").write_text("raise ImportError('made for another CPU')")
    (here,), error = run(python=write_python(tmp_path / "python", first))
    assert here.device == "local"
    assert re.match("pi: .*fp32 could not be run: ", str(error))


def test_a_device_missing_in_hosts_json_is_named(run, tmp_path):
    with pytest.raises(ArtifactError, match=r"hosts\.json: .* pi; run .python -m stages.probe"):
        run(hosts=("local",))
    assert not (tmp_path / "cache").exists()

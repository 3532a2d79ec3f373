"""Candidates on two devices, the second one over OpenSSH."""

import json
import re
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepared import Split, SplitInfo
from pipeline.errors import ArtifactError, DeviceError
from pipeline.files import hash_file
from pipeline.measure import evaluate as evaluating
from pipeline.measure.evaluate import evaluate_devices
from pipeline.measure.host import describe_host
from pipeline.measure.models import EvaluationInputs
from pipeline.measure.runtime import DeviceRuntime
from pipeline.params import Evaluate
from tests.pipeline.measure.linear_model import SIZE, write_model
from tests.pipeline.measure.ssh_server import (
    write_dropping_python,
    write_python,
)
from tests.prepared_data import describe

pytestmark = pytest.mark.slow

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"


@dataclass
class Prepared:
    """The part of PreparedData that is used."""

    path: Path
    labels: np.ndarray
    fingerprint: str = "da" * 32

    @property
    def info(self):
        split = SplitInfo(len(self.labels), np.bincount(self.labels).tolist(), {})
        return describe("abc", SIZE, {"val": split})

    def images_path(self, split, size):
        assert (split, size) == ("val", SIZE)
        return self.path

    def split(self, split, size):
        assert (split, size) == ("val", SIZE)
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
                "files": {f"{name}/{p.name}": hash_file(p) for p in path.parent.iterdir()},
                "bytes": 7,
            }
        )
    (folder / "candidates.json").write_text(json.dumps({"candidates": made, "reference": "fp32"}))
    teacher = tmp_path / "teacher.onnx"
    write_model(teacher, scale=0.02)
    data = Prepared(images, np.arange(70) % 3)

    def run(python=sys.executable, hosts=None, **entry):
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
        facts = hosts or {"local": describe_host(), "pi": describe_host()}
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
    assert here.class_images == {"a": 24, "b": 23, "c": 23}
    for m in here.measured:
        lost = round(70 * (here.teacher.accuracy - m.accuracy))
        assert m.drop_to_teacher.lost - m.drop_to_teacher.gained == lost
        balanced = here.candidates[0].balanced_accuracy - m.balanced_accuracy
        assert m.balanced_drop.points == pytest.approx(100 * balanced)
    assert there.not_run == there.notes == []
    assert not (tmp_path / "cache").exists()
    folder, teacher = tmp_path / "candidates", tmp_path / "teacher.onnx"
    assert (here.data, here.host) == ("da" * 32, describe_host())
    assert here.runtime == there.runtime == DeviceRuntime(RUNTIME_FOLDER).content_hash()
    assert here.candidates[1].files == {
        f"vino/{name}": hash_file(folder / "vino" / name) for name in ("model.bin", "model.xml")
    }
    assert there.teacher.files == {"teacher.onnx": hash_file(teacher)}


def test_a_device_that_has_changed_since_it_was_probed_is_not_measured(run):
    old = replace(describe_host(), packages={"numpy": "1.22"})
    (here,), error = run(hosts={"local": describe_host(), "pi": old})
    assert here.device == "local"
    assert re.match(r"pi: its numpy is .*, but 1\.22 in .*; run `finch probe`", str(error))


def test_a_model_that_changes_while_it_is_measured_is_refused(run, tmp_path, monkeypatch):
    measure = evaluating.measure_latency

    def replace_model(*arguments):
        write_model(tmp_path / "teacher.onnx", scale=0.03)
        return measure(*arguments)

    monkeypatch.setattr(evaluating, "measure_latency", replace_model)
    with pytest.raises(ArtifactError, match="candidates: changed while it was measured"):
        run()


def test_a_candidate_that_a_device_cannot_run_is_listed(run, tmp_path):
    first = tmp_path / "first"
    (first / "openvino").mkdir(parents=True)
    (first / "openvino/__init__.py").write_text(
        "raise ImportError(__file__ + ': made for another CPU')"
    )
    (here, there), error = run(python=write_python(tmp_path / "python", first))
    assert error is None
    assert [m.name for m in here.candidates] == ["fp32", "vino"]
    assert [m.name for m in there.candidates] == ["fp32"]
    (not_run,) = there.not_run
    assert (not_run.name, not_run.bytes) == ("vino", 7)
    assert "openvino: cannot be imported: __init__.py: made for another CPU" in not_run.problem


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
    with pytest.raises(ArtifactError, match=r"hosts\.json: .* pi; run .finch probe"):
        run(hosts={"local": describe_host()})
    assert not (tmp_path / "cache").exists()

"""When measurements of an earlier call are used again. The models are not run."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.errors import DeviceError
from pipeline.measure import evaluate as evaluating
from pipeline.measure.devices.device import ThisMachine
from pipeline.measure.evaluate import evaluate_devices, is_current
from pipeline.measure.evaluation import ModelInfo, read_evaluation
from pipeline.measure.host import Unreachable, describe_host
from pipeline.measure.models import EvaluationInputs
from pipeline.params import Evaluate, ListedDevice

RECORDING = read_evaluation(Path(__file__).parents[2] / "recordings/epyc_vnni.json")
LISTED = [ListedDevice(name="local"), ListedDevice(name="pi", host="pi")]


@dataclass
class Data:
    fingerprint: str = "da" * 32


class Devices:
    """Two devices, of which the second one fails, and everything that measurements depend on."""

    def __init__(self, folder, monkeypatch):
        self.cache, self.measured = folder / "cache", []
        self.host, self.params = describe_host(), Evaluate(devices=LISTED)
        self.files, self.code = {"model.onnx": "01" * 32}, "1"
        package = folder / "finch_runtime"
        package.mkdir()
        self.main = package / "__main__.py"
        self.main.write_text("1")
        self.inputs = EvaluationInputs(folder, folder / "teacher.onnx", Data(), folder)
        for name in ("open_device", "evaluate_candidates", "find_models", "code_fingerprint"):
            monkeypatch.setattr(evaluating, name, getattr(self, name))
        monkeypatch.setattr(ThisMachine, "describe", lambda _: self.host)

    @contextmanager
    def open_device(self, listed, limit_s):
        if listed.name == "pi":
            raise DeviceError("pi", "is broken")
        yield ThisMachine()

    def evaluate_candidates(self, inputs, params, device, host, track):
        self.measured.append(device.name)
        return replace(RECORDING, device=device.name)

    def find_models(self, inputs):
        info = ModelInfo("fp32", "onnxruntime", "fp32", 1, 9, files=self.files)
        return None, {"fp32": info}, {}

    def code_fingerprint(self, *_):
        return self.code

    def run(self):
        """Measures, and returns the devices that were measured now."""
        self.measured.clear()
        hosts = {"local": self.host, "pi": self.host}
        with pytest.raises(DeviceError, match="pi: is broken"):
            list(evaluate_devices(self.inputs, self.params, hosts, self.cache))
        return self.measured


@pytest.fixture
def devices(tmp_path, monkeypatch):
    return Devices(tmp_path, monkeypatch)


def test_a_finished_device_is_measured_once(devices):
    assert devices.run() == ["local"]
    assert devices.run() == []


CHANGES = {
    "models": lambda devices: devices.files.update({"model.onnx": "02" * 32}),
    "data": lambda devices: setattr(devices.inputs.data, "fingerprint", "02" * 32),
    "device runtime": lambda devices: devices.main.write_text("2"),
    "code": lambda devices: setattr(devices, "code", "2"),
    "host": lambda devices: setattr(devices, "host", replace(devices.host, python="3.99")),
    "rounds": lambda devices: setattr(devices, "params", Evaluate(devices=LISTED, rounds=6)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_measurement_depends_on_makes_it_invalid(devices, change):
    devices.run()
    CHANGES[change](devices)
    assert devices.run() == ["local"]
    assert devices.run() == []


@pytest.mark.parametrize("change", [None, "models", "data", "device runtime", "threads"])
def test_an_evaluation_is_current_until_its_inputs_change(devices, change):
    model = replace(RECORDING.candidates[0], name="fp32", files=dict(devices.files))
    earlier = replace(
        RECORDING,
        candidates=[model],
        teacher=None,
        data=devices.inputs.data.fingerprint,
        runtime=evaluating.DeviceRuntime(devices.inputs.runtime).content_hash(),
    )
    if change == "threads":
        devices.params = Evaluate(threads=2)
    elif change:
        CHANGES[change](devices)
    assert is_current(earlier, devices.inputs, devices.params) == (change is None)


def test_without_any_device_nothing_is_measured(devices):
    off = Unreachable("is off")
    with pytest.raises(DeviceError, match=r"could reach none of them.*finch probe"):
        list(evaluate_devices(devices.inputs, devices.params, {"local": off, "pi": off}, Path()))
    assert not devices.measured

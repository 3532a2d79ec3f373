"""The versions that a bundle pins, and whether devices with other Pythons can install them."""

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from pipeline.errors import SelectionError
from pipeline.measure.devices import remote_runner
from pipeline.shipping.bundle import build_bundle, unpack_bundle
from pipeline.shipping.requirements import requirements
from tests.pipeline.shipping.brightness import LABELS, bundle_spec, write_onnx

RUNTIME = Path(__file__).parents[3] / "deploy" / "python" / "finch_runtime"
ON_DEVICE = {"numpy": "2.0.2", "pillow": "11.3.0", "onnxruntime": "1.19.2", "openvino": "2025.3.0"}


def parse(text):
    return {each.name: str(each.specifier) for each in map(Requirement, text.splitlines())}


def test_the_versions_are_those_of_the_device_not_of_this_machine():
    pinned = parse(requirements("onnxruntime", ON_DEVICE, "pi"))
    assert pinned == {"numpy": "==2.0.2", "pillow": "==11.3.0", "onnxruntime": "==1.19.2"}


def test_a_package_that_the_device_lacks_gets_a_lower_bound():
    installed = {"numpy": "2.0.2", "openvino": "2025.3.0"}
    pinned = parse(requirements("openvino", installed, "pi"))
    assert pinned["openvino"] == "==2025.3.0"
    assert pinned["pillow"].startswith(">=")


def test_an_unknown_version_of_the_inference_runtime_is_an_error():
    with pytest.raises(SelectionError, match=r"pi: .*openvino.*finch probe"):
        requirements("openvino", {"numpy": "2.0.2"}, "pi")


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.stem)
def test_the_device_runtime_has_the_syntax_of_python_3_9(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


def find_python(version):
    """An interpreter of this version: on the path, or installed by pyenv."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")]
    found = [path / "bin/python" for root in roots for path in root.glob(f"{version}.*")]
    found += [Path(name) for name in [shutil.which(f"python{version}")] if name]
    for python in found:
        program = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
        if run.stdout.strip() == version:
            return python
    pytest.skip(f"no Python {version} with ensurepip on this machine")


def make_environment(folder, python, *arguments):
    """Creates a virtual environment and installs packages in it; returns its interpreter."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin" / "python"
    command = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return own


def describe(python):
    """What ``finch probe`` records of a device with this interpreter."""
    program = Path(remote_runner.__file__).read_text("utf-8")
    command = [python, "-c", program, "describe", *ON_DEVICE]
    run = subprocess.run(command, capture_output=True, check=True)
    return json.loads(run.stdout.partition(remote_runner.BEGIN)[2])


def pack(folder, runtime, pinned):
    """Packs a model with these requirements, and unpacks the bundle as on a device."""
    portable = folder / "student.onnx"
    write_onnx(portable)
    files = [portable]
    if runtime == "openvino":
        import openvino

        files = [folder / "model.xml", folder / "model.bin"]
        model = openvino.Core().read_model(portable)
        openvino.save_model(model, files[0], compress_to_fp16=False)
    spec = bundle_spec(*files, runtime=runtime, requirements=pinned)
    build_bundle(spec, RUNTIME.parent, folder / "birds.tar.gz")
    return unpack_bundle(folder / "birds.tar.gz", folder / "unpacked")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "runtime"),
    [("3.9", "onnxruntime"), ("3.9", "openvino"), ("3.13", "onnxruntime")],
)
def test_a_device_installs_and_runs_its_bundle(version, runtime, tmp_path):
    python = find_python(version)
    device = make_environment(tmp_path / "device", python, "numpy", "pillow", runtime)
    described = describe(device)
    assert described["python"].startswith(f"{version}.")
    pinned = requirements(runtime, described["packages"], "pi")
    assert all(specifier.startswith("==") for specifier in parse(pinned).values())

    folder = pack(tmp_path, runtime, pinned)
    Image.new("RGB", (40, 30), (230, 230, 230)).save(tmp_path / "noon.png")
    fresh = make_environment(tmp_path / "fresh", python, "-r", folder / "requirements.txt")
    run = subprocess.run(
        [fresh, "-I", folder / "finch_runtime", "classify", tmp_path / "noon.png", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["top"][0]["label"] == LABELS[1]

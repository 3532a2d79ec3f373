"""The versions that a bundle requires, and whether devices with other Pythons can install them."""

import ast
import json
import subprocess
from pathlib import Path

import onnx
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

from pipeline.errors import SelectionError
from pipeline.measure.devices import remote_runner
from pipeline.shipping.bundle import build_bundle, unpack_bundle
from pipeline.shipping.requirements import requirements
from tests.old_pythons import find_python, make_environment
from tests.pipeline.shipping.brightness import LABELS, bundle_spec, write_onnx

RUNTIME = Path(__file__).parents[3] / "deploy" / "python" / "finch_runtime"
ON_DEVICE = {"numpy": "2.0.2", "pillow": "11.3.0", "onnxruntime": "1.19.2", "openvino": "2025.3.0"}


def parse(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {each.name: each.specifier for each in map(Requirement, lines)}


@pytest.fixture
def model(tmp_path):
    write_onnx(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def declare(path, opset, ir):
    file = onnx.load(path)
    file.ir_version, file.opset_import[0].version = ir, opset
    onnx.save(file, path)


NEWEST = {"numpy": "2.4.6", "pillow": "13.0.0", "onnxruntime": "1.32.0", "openvino": "2026.4.1"}


@pytest.mark.parametrize("installed", [ON_DEVICE, NEWEST])
def test_other_pythons_than_that_of_the_device_find_versions(model, installed):
    declare(model, 18, 8)
    needed = parse(requirements("onnxruntime", model, installed, "3.13.0", "pi"))
    assert list(needed) == ["numpy", "pillow", "onnxruntime"]
    # The newest releases for Python 3.9, 3.10 and 3.13, and the oldest one that was tried.
    for numpy in ("1.22.4", "2.0.2", "2.2.6", "2.4.6"):
        assert Version(numpy) in needed["numpy"]
    for pillow in ("10.1.0", "11.3.0", "13.0.0"):
        assert Version(pillow) in needed["pillow"]
    for release in ("1.15.0", "1.19.2", "1.23.2", "1.32.0"):
        assert Version(release) in needed["onnxruntime"]


def test_the_versions_that_were_measured_are_noted(model):
    text = requirements("onnxruntime", model, ON_DEVICE, "3.9.18", "pi")
    noted = next(line for line in text.splitlines() if "3.9.18" in line)
    assert noted.startswith("#")
    for part in ("pi", "numpy==2.0.2", "pillow==11.3.0", "onnxruntime==1.19.2"):
        assert part in noted
    without = requirements("onnxruntime", model, {"onnxruntime": "1.19.2"}, "3.9.18", "pi")
    assert "numpy==" not in without


@pytest.mark.parametrize(
    ("opset", "ir", "measured", "oldest"),
    [
        (18, 8, "1.32.0", ">=1.15"),
        (18, 10, "1.32.0", ">=1.18"),
        (23, 11, "1.32.0", ">=1.23"),
        (18, 8, "1.14.1", ">=1.14.1"),  # it was measured, so it works
        (99, 20, "1.40.0", ">=1.40.0"),
    ],
)
def test_the_oldest_runtime_is_the_first_that_loads_the_file(model, opset, ir, measured, oldest):
    declare(model, opset, ir)
    installed = {**ON_DEVICE, "onnxruntime": measured}
    needed = parse(requirements("onnxruntime", model, installed, "3.11.7", "pi"))
    assert str(needed["onnxruntime"]) == oldest


def test_the_same_for_openvino(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text('<net><layer version="opset13"/><layer version="opset1"/></net>', "utf-8")
    needed = parse(requirements("openvino", path, NEWEST, "3.11.7", "pi"))
    assert str(needed["openvino"]) == ">=2023.3"


def test_an_unknown_version_of_the_inference_runtime_is_an_error(model):
    with pytest.raises(SelectionError, match=r"pi: .*openvino.*finch probe"):
        requirements("openvino", model, {"numpy": "2.0.2"}, "3.9.18", "pi")


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.stem)
def test_the_device_runtime_has_the_syntax_of_python_3_9(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


def describe(python):
    """What ``finch probe`` records of a device with this interpreter."""
    program = Path(remote_runner.__file__).read_text("utf-8")
    command = [python, "-c", program, "describe", *ON_DEVICE]
    run = subprocess.run(command, capture_output=True, check=True)
    return json.loads(run.stdout.partition(remote_runner.BEGIN)[2])


def pack(folder, runtime, installed):
    """Packs a model with its requirements, and unpacks the bundle as on a device."""
    portable = folder / "student.onnx"
    write_onnx(portable)
    declare(portable, 18, 8)
    files = [portable]
    if runtime == "openvino":
        import openvino

        files = [folder / "model.xml", folder / "model.bin"]
        openvino.save_model(openvino.convert_model(portable), files[0], compress_to_fp16=False)
    text = requirements(runtime, files[0], installed, "3.11.7", "pi")
    spec = bundle_spec(*files, runtime=runtime, requirements=text)
    build_bundle(spec, RUNTIME.parent, folder / "birds.tar.gz")
    return unpack_bundle(folder / "birds.tar.gz", folder / "unpacked")


OLDEST = ("numpy==1.22.4", "pillow==10.1.0", "onnxruntime==1.15.0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "runtime", "present"),
    [
        ("3.9", "onnxruntime", ()),
        ("3.9", "onnxruntime", OLDEST),
        ("3.9", "openvino", ("openvino==2023.1.0", "numpy<2")),
        ("3.10", "openvino", ()),
        ("3.13", "onnxruntime", ()),
    ],
)
def test_a_device_installs_and_runs_a_bundle_of_a_newer_machine(
    version, runtime, present, tmp_path
):
    python = find_python(version)
    folder = pack(tmp_path, runtime, NEWEST)
    needed = folder / "requirements.txt"
    if present:  # which pip keeps
        make_environment(tmp_path / "device", python, *present)
    device = make_environment(tmp_path / "device", python, "-r", needed)
    described = describe(device)
    assert described["python"].startswith(f"{version}.")
    for exact in (each for each in present if "==" in each):
        name, _, release = exact.partition("==")
        assert described["packages"][name] == release
    Image.new("RGB", (40, 30), (230, 230, 230)).save(tmp_path / "noon.png")
    run = subprocess.run(
        [device, "-I", folder / "finch_runtime", "classify", tmp_path / "noon.png", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["top"][0]["label"] == LABELS[1]

"""`finch evaluate-file` with a linear classifier of another tool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from pipeline.measure.accuracy import score
from stages.app import main
from tests.pipeline.measure.linear_model import SIZE, write_model
from tests.prepared_data import write_prepared
from tests.small_project import PROJECT

QUICK = ("rounds=3", "max_rounds=3", "turns=3", "runs=3", "warmup=1", "warmup_seconds=0.0")
IMAGES = np.random.default_rng(0).integers(0, 256, (30, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3


def write_foreign(
    path: Path, height: int = SIZE, classes: int = 3, width: int | None = None
) -> np.ndarray:
    """Logits are pixels in [0, 1], channels first, times the returned weights."""
    width = width or height
    weights = np.random.default_rng(1).normal(size=(3 * height * width, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_prepared(tmp_path / "data/prepared", "abc", {"val": (IMAGES, LABELS)})
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "deploy").symlink_to(PROJECT / "deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(*options: str) -> Result:
    quick = [part for each in QUICK for part in ("--set", f"evaluate.{each}")]
    unit = ["--mean", "0", "0", "0", "--std", "1", "1", "1"]
    return CliRunner().invoke(main, ["evaluate-file", "m.onnx", *unit, *quick, *options])


@pytest.mark.slow
def test_accuracy_is_that_of_the_weights_and_the_student_is_timed_in_turns(folder: Path) -> None:
    weights = write_foreign(folder / "m.onnx")
    done = measure()
    assert done.exit_code == 0, done.output
    expected = score((IMAGES / 255).transpose(0, 3, 1, 2).reshape(30, -1) @ weights, LABELS)
    assert f"accuracy  {expected.accuracy:.1%} (balanced" in done.stdout
    assert "student" not in done.stdout

    (folder / "models/onnx").mkdir(parents=True)
    write_model(folder / "models/onnx/student.onnx")
    done = measure("--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["accuracy"]["accuracy"] == pytest.approx(expected.accuracy)
    assert found["drop"]["images"] == found["images"] == 30
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    assert len(found["latency"]["round_p50s_ms"]) == 3


@pytest.mark.parametrize(
    ("size", "classes", "message"),
    [
        (8, 3, "m.onnx: takes images of 8 px, which are not prepared; set prepare.image_size=8"),
        (SIZE, 5, "m.onnx: has the outputs y [n, 5], but the data has 3 classes"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(
    folder: Path, size: int, classes: int, message: str
) -> None:
    write_foreign(folder / "m.onnx", size, classes)
    done = measure()
    assert done.exit_code == 1
    assert f"finch evaluate-file: {message}" in done.stderr.replace(f"{folder}/", "")


def test_a_model_of_rectangles_names_both_parameters(folder: Path) -> None:
    write_foreign(folder / "m.onnx", 8, width=12)
    done = measure()
    assert done.exit_code == 1
    assert "takes images of 8 x 12 px, which are not prepared" in done.stderr
    assert "set prepare.image_size=8 and prepare.aspect_ratio=1.5 and run" in done.stderr


def test_a_normalization_that_divides_by_zero_is_refused(folder: Path) -> None:
    write_foreign(folder / "m.onnx")
    done = measure("--std", "0", "1", "1")
    assert done.exit_code == 1
    assert "--std 0.0 1.0 1.0: must be positive" in done.stderr

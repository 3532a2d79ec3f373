"""The stage export with a student that has a form for inference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from safetensors import safe_open

from pipeline.files import write_json
from pipeline.models.record import FORMAT
from stages.app import main
from tests.prepared_data import write_prepared
from tests.small_project import PROJECT, set_param
from tests.stage_process import StageProcesses


@pytest.mark.slow
def test_the_form_for_inference_is_exported_and_the_training_form_is_kept(project: Path) -> None:
    set_param(project, "distill.model", "repghostnet_050")
    stages = StageProcesses()
    stages.run_all(project, "resolve", "prepare", "finetune", "cache_logits", "distill")
    with safe_open(project / "models/student/model.safetensors", "np") as file:
        branches = [name for name in file.keys() if "fusion_bn" in name]  # noqa: SIM118
    assert branches
    before = (project / "models/student/model.safetensors").read_bytes()
    done = stages.run(project, "export")
    assert "student.onnx: reparameterized" in done.stderr
    assert (project / "models/student/model.safetensors").read_bytes() == before
    parity = json.loads((project / "reports/parity.json").read_text())
    assert parity["teacher"]["reparameterized"] is None
    for name in ("student", "student-b1"):
        assert 0 < parity[name]["reparameterized"] < 1e-3
        assert parity[name]["variation"] > 1e-4
        nodes = onnx.load(project / f"models/onnx/{name}.onnx").graph.node
        assert not any(node.op_type == "BatchNormalization" for node in nodes)
    figures = json.loads((project / "reports/student.json").read_text())
    stored = len(before) / 4  # float32
    assert figures["parameters"] < stored


def test_a_student_without_weights_is_noticed_before_the_teacher_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((2, 32, 32, 3), np.uint8)
    data = write_prepared(tmp_path / "data/prepared", "ab", {"val": (image, [0, 1])})
    common = {
        "format": FORMAT,
        "classes": ["a", "b"],
        "image_size": 32,
        "weights_sha256": "0",
        "data": data.fingerprint,
        "code": "0",
        "reports": {},
        "recipe": {},
    }
    made_from = {"teacher": "0", "data": data.fingerprint, "views": "0"}
    order = {"order": [0, 1], "sha256": "0"}
    student = common | {"teacher_logits": made_from, "cache": "0", "class_order": order}
    write_json(tmp_path / "models/teacher/model.json", common)
    (tmp_path / "models/teacher/model.safetensors").touch()
    write_json(tmp_path / "models/student/model.json", student)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export"])
    assert done.exit_code == 1
    assert done.output.startswith("finch export: ")
    assert "models/student/model.safetensors: is missing; run `finch distill`" in done.output

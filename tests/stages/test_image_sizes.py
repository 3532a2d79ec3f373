"""A teacher and a student of different image sizes, in the real stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.export.onnx_metadata import read_image_size
from tests.small_project import set_param
from tests.stage_process import StageProcesses
from tests.stages.finished_project import (
    check_exported_accuracy,
    run,
    run_stages,
    unpack_bundle,
)


@pytest.mark.slow
def test_each_network_has_its_own_size_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "finetune.image_size", 48)
    set_param(project, "distill.image_size", 24)
    run_stages(project)
    onnx = project / "models/onnx"
    assert read_image_size(onnx / "teacher.onnx") == 48
    assert read_image_size(onnx / "student.onnx") == read_image_size(onnx / "student-b1.onnx") == 24
    parity = json.loads((project / "reports/parity.json").read_text())
    assert parity.keys() == {"teacher", "student", "student-b1"}
    evaluation = json.loads((project / "reports/evaluations/local.json").read_text())
    assert evaluation["teacher"]["latency"]["p50_ms"] > 0

    check_exported_accuracy(project)
    folder = unpack_bundle(project, tmp_path / "device")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["input"]["height"], manifest["input"]["width"]) == (24, 24)
    photo = tmp_path / "photo.png"
    Image.effect_noise((300, 200), 50).convert("RGB").save(photo)
    line = [sys.executable, "-m", "finch_runtime", "classify", str(photo)]
    run(line, folder)


@pytest.mark.slow
def test_a_cache_of_another_teacher_size_is_refused_in_one_line(project: Path) -> None:
    stages = StageProcesses()
    stages.run_all(project, "prepare", "finetune", "cache_logits", "distill")
    path = project / "data/teacher_logits/cache.json"
    info = json.loads(path.read_text())
    info["key"]["image_size"] = 64
    path.write_text(json.dumps(info))
    ended = stages.run(project, "distill")
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    for words in ("64 px", "32 px", "run `finch cache-logits`"):
        assert words in ended.stderr

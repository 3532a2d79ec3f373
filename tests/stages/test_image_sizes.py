"""A teacher and a student of different image sizes, in the real stages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.export.onnx_metadata import read_image_size
from tests.small_project import set_param
from tests.stages.finished_project import check_exported_accuracy, unpack_bundle

TRAINING = ("prepare", "finetune", "cache_logits", "distill")
SHIPPING = ("export", "qat", "quantize", "probe", "evaluate", "bundle", "verify")


def run(project: Path, stage: str, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"stages.{stage}", *options]
    return subprocess.run(line, cwd=project, capture_output=True, text=True)


@pytest.mark.slow
def test_each_network_has_its_own_size_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "finetune.image_size", 48)
    set_param(project, "distill.image_size", 24)
    for stage in (*TRAINING, *SHIPPING):
        done = run(project, stage)
        assert done.returncode == 0, done.stderr
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
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_cache_of_another_teacher_size_is_refused_in_one_line(project: Path) -> None:
    for stage in TRAINING:
        done = run(project, stage)
        assert done.returncode == 0, done.stderr
    path = project / "data/teacher_logits/cache.json"
    info = json.loads(path.read_text())
    info["key"]["image_size"] = 64
    path.write_text(json.dumps(info))
    done = run(project, "distill")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    for words in ("64 px", "32 px", "run `finch cache-logits`"):
        assert words in done.stderr

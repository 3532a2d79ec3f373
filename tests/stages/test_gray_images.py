"""Gray photographs, letterboxes, and a student with smaller images than its teacher."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.export.onnx_metadata import read_image_size
from tests.small_project import set_param
from tests.stages.finished_project import (
    check_exported_accuracy,
    keep_candidates,
    run,
    run_stages,
    unpack_bundle,
)


@pytest.mark.slow
def test_gray_letterboxes_go_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "prepare.channels", 1)
    set_param(project, "prepare.fit", "pad")
    set_param(project, "distill.image_size", 24)
    keep_candidates(project, "onnxruntime-fp32", "openvino-int8-b1")
    run_stages(project)
    packed = np.load(project / "data/prepared/val/images_24.npy")
    assert packed.shape[1:] == (24, 24, 1)
    assert (packed[:, 0] == 114).all()  # the photographs are wider than high

    onnx = project / "models/onnx"
    assert read_image_size(onnx / "teacher.onnx") == 32
    assert read_image_size(onnx / "student.onnx") == read_image_size(onnx / "student-b1.onnx") == 24
    parity = json.loads((project / "reports/parity.json").read_text())
    assert parity.keys() == {"teacher", "student", "student-b1"}
    evaluation = json.loads((project / "reports/evaluations/local.json").read_text())
    assert evaluation["teacher"]["latency"]["p50_ms"] > 0

    check_exported_accuracy(project)
    folder = unpack_bundle(project, tmp_path / "device")
    described = json.loads((folder / "manifest.json").read_text())["input"]
    assert (described["color"], described["fit"]) == ("gray", "pad")
    assert (described["height"], described["width"]) == (24, 24)
    noise = Image.effect_noise((300, 200), 50)
    answers = set()
    for mode in ("L", "RGB"):  # a camera without colors, in either kind of file
        noise.convert(mode).save(tmp_path / f"{mode}.png")
        line = [sys.executable, "-m", "finch_runtime", "classify", str(tmp_path / f"{mode}.png")]
        answers.add(run([*line, "--json"], folder).replace(f"{mode}.png", ""))
    assert len(answers) == 1

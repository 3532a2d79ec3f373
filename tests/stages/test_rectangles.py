"""Images that are not square, in the real stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

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
@pytest.mark.timeout(1200)
def test_rectangles_go_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "prepare.aspect_ratio", 1.5)
    set_param(project, "views.quarter_turns", False)
    set_param(project, "finetune.image_size", 40)
    set_param(project, "distill.image_size", 24)
    set_param(project, "cache_logits.pack_views", True)
    set_param(project, "qat.epochs", 1)
    keep_candidates(project, "onnxruntime-fp32", "openvino-int8-b1")
    run_stages(project)
    packed = project / "data/prepared/val"
    photo = tmp_path / "photos" / (packed / "names.txt").read_text().splitlines()[0]
    with Image.open(photo) as image:
        expected = np.asarray(ImageOps.fit(image, (36, 24), Image.Resampling.BILINEAR))
        assert np.array_equal(np.load(packed / "images_24x36.npy")[0], expected)
    assert np.load(packed / "images.npy").shape[1:] == (40, 60, 3)
    onnx = project / "models/onnx"
    assert read_image_size(onnx / "teacher.onnx") == (40, 60)
    assert read_image_size(onnx / "student.onnx") == (24, 36)
    assert read_image_size(project / "models/qat/student.onnx") == (24, 36)

    check_exported_accuracy(project)
    folder = unpack_bundle(project, tmp_path / "device")
    described = json.loads((folder / "manifest.json").read_text())["input"]
    assert (described["height"], described["width"]) == (24, 36)
    Image.fromarray(expected).save(tmp_path / "scaled.png")
    answers = [
        json.loads(run([*command, str(file), "--json"], place))
        for command, place in (
            ([sys.executable, "-m", "finch_runtime", "classify"], folder),
            ([sys.executable, "-m", "stages.predict", "."], project),
        )
        for file in (photo, tmp_path / "scaled.png")
    ]
    found = [answer[0] if isinstance(answer, list) else answer for answer in answers]
    assert len({json.dumps(each["top"]) for each in found}) == 1

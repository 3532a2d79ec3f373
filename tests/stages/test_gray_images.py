"""Gray photographs, and letterboxes, in the real stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_project import set_param
from tests.stages.finished_project import check_exported_accuracy, run, run_stages, unpack_bundle


@pytest.mark.slow
def test_gray_letterboxes_go_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "prepare.channels", 1)
    set_param(project, "prepare.fit", "pad")
    set_param(project, "distill.image_size", 24)
    run_stages(project)
    packed = np.load(project / "data/prepared/val/images_24.npy")
    assert packed.shape[1:] == (24, 24, 1)
    assert (packed[:, 0] == 114).all()  # the photographs are wider than high

    check_exported_accuracy(project)
    folder = unpack_bundle(project, tmp_path / "device")
    described = json.loads((folder / "manifest.json").read_text())["input"]
    assert (described["color"], described["fit"], described["height"]) == ("gray", "pad", 24)
    noise = Image.effect_noise((300, 200), 50)
    answers = set()
    for mode in ("L", "RGB"):  # a camera without colors, in either kind of file
        noise.convert(mode).save(tmp_path / f"{mode}.png")
        line = [sys.executable, "-m", "finch_runtime", "classify", str(tmp_path / f"{mode}.png")]
        answers.add(run([*line, "--json"], folder).replace(f"{mode}.png", ""))
    assert len(answers) == 1

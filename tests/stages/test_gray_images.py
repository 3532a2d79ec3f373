"""Gray photographs, and letterboxes, in the real stages."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_project import set_param

STAGES = (
    *("resolve", "prepare", "finetune", "cache_logits", "distill", "export", "qat", "quantize"),
    *("probe", "evaluate", "bundle", "verify", "report"),
)


def run(line: list[str], folder: Path) -> str:
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_gray_letterboxes_go_up_to_the_device(project: Path, tmp_path: Path) -> None:
    set_param(project, "prepare.channels", 1)
    set_param(project, "prepare.fit", "pad")
    set_param(project, "distill.image_size", 24)
    for stage in STAGES:
        run([sys.executable, "-m", f"stages.{stage}"], project)
    run([sys.executable, "-m", "stages.inspect"], project)
    packed = np.load(project / "data/prepared/val/images_24.npy")
    assert packed.shape[1:] == (24, 24, 1)
    assert (packed[:, 0] == 114).all()  # the photographs are wider than high

    # PyTorch and the exported files, run by the device runtime, agree on the validation images.
    evaluation = json.loads((project / "reports/evaluations/local.json").read_text())
    reference = next(c for c in evaluation["candidates"] if c["name"] == evaluation["reference"])
    for name, measured in (("teacher", evaluation["teacher"]), ("student", reference)):
        trained = json.loads((project / f"reports/{name}.json").read_text())["val_accuracy"]
        assert measured["accuracy"] == pytest.approx(trained, abs=0.05)

    with tarfile.open(project / "dist/finch-student.tar.gz") as archive:
        archive.extractall(tmp_path / "device", filter="data")
    (folder,) = (tmp_path / "device").iterdir()
    described = json.loads((folder / "manifest.json").read_text())["input"]
    assert (described["color"], described["fit"], described["height"]) == ("gray", "pad", 24)
    noise = Image.effect_noise((300, 200), 50)
    answers = set()
    for mode in ("L", "RGB"):  # a camera without colors, in either kind of file
        noise.convert(mode).save(tmp_path / f"{mode}.png")
        line = [sys.executable, "-m", "finch_runtime", "classify", str(tmp_path / f"{mode}.png")]
        answers.add(run([*line, "--json"], folder).replace(f"{mode}.png", ""))
    assert len(answers) == 1

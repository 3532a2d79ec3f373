"""A package from outside adds a loss, a data source, a runtime and a report section."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PROJECT = Path(__file__).parents[1]

PLUGINS = '''
"""One plug-in of each kind, as docs/contributing.md shows them."""

import shutil
from pathlib import Path

import torch.nn.functional as F

from pipeline.data.sources import DataSource, Listing, Sample
from pipeline.losses.base import DistillationLoss
from pipeline.plugins import LOSSES, RUNTIMES, SECTIONS, SOURCES
from pipeline.plugins.section import NonNegativeFloat
from pipeline.quantize.runtimes.base import CandidateRuntime
from pipeline.report.sections import section


@LOSSES.register("l1")
class L1Loss(DistillationLoss):
    """Cross-entropy plus the mean absolute difference of the logits.

    Args:
        label_smoothing: Label smoothing of the cross-entropy.
        weight: Weight of the difference.
    """

    def __init__(self, *, label_smoothing: float = 0.0, weight: NonNegativeFloat = 0.5) -> None:
        super().__init__(label_smoothing)
        self.weight = weight

    def teacher_terms(self, student, teacher, labels):
        return {"l1": self.weight * F.l1_loss(student, teacher)}


@SOURCES.register("owls")
class Owls(DataSource):
    license = "CC BY 4.0"
    publishes_splits = False

    def read(self, path):
        classes = sorted(folder.name for folder in path.iterdir())
        samples = [
            Sample.from_path(path, file, label, None)
            for label, name in enumerate(classes)
            for file in sorted((path / name).iterdir())
        ]
        return Listing(classes, samples)


@RUNTIMES.register("copycat")
class CopyCat(CandidateRuntime):
    package = "onnxruntime"
    int8_methods = {}

    def make(self, candidate, source, calibration, folder):
        return Path(shutil.copy(source, folder / "model.onnx"))


@SECTIONS.register("outside")
@section("From outside", order=95)
def outside(facts):
    return []
'''

USE = """
import json
import sys
from pathlib import Path

import numpy as np
import torch

from pipeline.data.sources import read_source
from pipeline.losses import build_loss
from pipeline.params import load_params
from pipeline.plugins import SECTIONS
from pipeline.quantize.candidates import make_candidates

params = load_params(Path("params.yaml"))
loss = build_loss(params.distill, 2)
student, labels = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
terms = loss.terms(student, torch.ones(4, 2), labels)
dataset = read_source(params.prepare)
made = make_candidates(
    {"dynamic": Path(sys.argv[1])},
    params.quantize.candidates,
    np.zeros((1, 32, 32, 3), np.uint8),
    Path("candidates"),
)
print(json.dumps({
    "l1": float(terms["l1"]),
    "classes": dataset.classes,
    "license": dataset.license,
    "candidates": [candidate.name for candidate in made.candidates],
    "section": SECTIONS["outside"].title,
}))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An importable package with an entry point, as pip would install it."""
    folder = tmp_path / "site"
    info = folder / "finch_owls-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "finch_owls.py").write_text(PLUGINS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: finch-owls\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[finch.plugins]\nowls = finch_owls\n")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with parameters that use the plug-ins."""
    for name in ("barn_owl", "tawny_owl"):
        (tmp_path / "owls" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "owls" / name / "1.png")
    (tmp_path / "params.yaml").write_text(
        f"""
prepare: {{ source: owls, path: {tmp_path / "owls"} }}
distill: {{ method: l1, l1: {{ weight: 2.0 }}, epochs: 1, lr: 0.1,
  weight_decay: 0.0, batch_size: 8 }}
finetune: {{ epochs: 1, batch_size: 8, lr: 0.1, weight_decay: 0.0 }}
quantize:
  candidates:
    - {{ name: reference, runtime: onnxruntime, precision: fp32 }}
    - {{ name: copied, runtime: copycat, precision: fp32 }}
"""
    )
    return tmp_path


def test_a_package_adds_one_plugin_of_each_kind(
    package: Path, project: Path, tmp_path: Path
) -> None:
    student = _export_linear(tmp_path / "student.onnx")
    done = subprocess.run(
        [sys.executable, "-c", USE, str(student)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(PROJECT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "l1": 2.0,
        "classes": ["barn_owl", "tawny_owl"],
        "license": "CC BY 4.0",
        "candidates": ["reference", "copied"],
        "section": "From outside",
    }


@pytest.mark.slow
def test_a_changed_plugin_is_an_input_of_the_stages_that_use_it(
    package: Path, project: Path
) -> None:
    def inputs() -> dict[str, dict[str, str] | None]:
        subprocess.run(
            [sys.executable, "-m", "stages.inputs"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(PROJECT)])},
            check=True,
        )
        return json.loads((project / "reports/inputs.json").read_text())

    before = inputs()
    assert inputs() == before
    (package / "finch_owls.py").write_text(PLUGINS + "\n")
    after = inputs()
    changed = {stage for stage in after if after[stage] != before[stage]}
    assert changed == {"prepare", "distill", "qat", "quantize", "report"}


def _export_linear(path: Path) -> Path:
    import torch

    from pipeline.export.onnx_export import export_onnx
    from pipeline.models.classifier import Spec

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    spec = Spec("linear", ("a", "b"), 32, (0.5,) * 3, (0.5,) * 3)
    export_onnx(model, spec, path, batch="dynamic", opset=18)
    return path

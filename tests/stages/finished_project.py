"""Runs the stages of a project, and what holds when they have run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.small_project import set_param
from tests.stage_process import StageProcesses

STAGES = (
    *("resolve", "prepare", "finetune", "cache_logits", "distill", "export", "qat", "quantize"),
    *("probe", "evaluate", "bundle", "verify", "report", "inspect"),
)


def run(line: list[str], folder: Path) -> str:
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keep_candidates(project: Path, *names: str) -> None:
    """Removes the other candidates from the parameters, and the search for more."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    kept = [each for each in params["quantize"]["candidates"] if each["name"] in names]
    set_param(project, "quantize.candidates", kept)
    set_param(project, "quantize.mixed_precision", {"enabled": False})


def run_stages(project: Path) -> None:
    StageProcesses().run_all(project, *STAGES)


def check_exported_accuracy(project: Path) -> None:
    """PyTorch and the exported files, run by the device runtime, agree on the validation images."""
    evaluation = json.loads((project / "reports/evaluations/local.json").read_text())
    reference = next(c for c in evaluation["candidates"] if c["name"] == evaluation["reference"])
    for name, measured in (("teacher", evaluation["teacher"]), ("student", reference)):
        trained = json.loads((project / f"reports/{name}.json").read_text())["val_accuracy"]
        assert measured["accuracy"] == pytest.approx(trained, abs=0.05)


def unpack_bundle(project: Path, device: Path) -> Path:
    """Unpacks the archive as a device would; returns the folder inside."""
    shutil.unpack_archive(project / "dist/finch-student.tar.gz", device)
    (folder,) = device.iterdir()
    return folder

"""What holds for every project whose stages have run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


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

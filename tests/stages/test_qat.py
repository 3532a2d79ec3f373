"""The stage qat without epochs, and without its requirements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run_qat(folder: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    changes = [word for override in overrides for word in ("--set", override)]
    return subprocess.run(
        [sys.executable, "-m", "stages.qat", *changes],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_without_epochs_an_empty_record_is_left(project: Path) -> None:
    done = run_qat(project)
    assert done.returncode == 0, done.stderr
    left = list((project / "models/qat").iterdir())
    assert [path.name for path in left] == ["qat.json"]
    assert json.loads(left[0].read_text()) == {"epochs": 0}


def test_what_is_missing_is_named_before_any_work(project: Path) -> None:
    # There is no data here: the requirements come first.
    done = run_qat(project, "qat.epochs=1", CXX="no-such-compiler")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("finch qat: qat.epochs: ")
    assert "qat.epochs to 0" in line
    assert not (project / "models").exists()

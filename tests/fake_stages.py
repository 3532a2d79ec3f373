"""`dvc repro` with the project's ``dvc.yaml``, in which only the first two stages do anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

BIN = Path(sys.executable).parent
ALWAYS = ["resolve", "inputs"]
"""The stages that are real; DVC runs them every time."""

# Takes the place of the other stages: writes their outputs, always the same.
_FAKE = """
import pathlib, sys
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
"""


def fake_stages(project: Path) -> None:
    """Replaces the stages in ``dvc.yaml``, except the first two.

    The others depend on their parameters and on the files that no stage writes, not on code and
    not on each other: what runs again does so for these.
    """
    (project / "fake.py").write_text(_FAKE)
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    del pipeline["plots"]
    for name, stage in pipeline["stages"].items():
        if name in ALWAYS:
            continue
        outs = [*stage.get("outs", []), *stage.get("metrics", [])]
        outputs = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
        stage["cmd"] = f"python fake.py {' '.join(outputs)}"
        stage.pop("always_changed", None)
        stage["deps"] = []
    (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))


def run_dvc(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``dvc`` in a project."""
    env = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f".{os.pathsep}deploy/python",
        "DVC_SITE_CACHE_DIR": str(project.parent / "site_cache"),
    }
    command = [BIN / "dvc", *arguments]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)


def dvc(project: Path, *arguments: str) -> str:
    """As ``run_dvc``, for commands that succeed; returns what they print."""
    done = run_dvc(project, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repro(project: Path) -> list[str]:
    """Runs ``dvc repro``, and returns the stages that ran besides the first two."""
    ran = stages_in(dvc(project, "repro"))
    assert set(ALWAYS) <= set(ran)
    return [stage for stage in ran if stage not in ALWAYS]


def stages_in(output: str) -> list[str]:
    """The stages that ran, in order."""
    return re.findall(r"Running stage '(\w+)'", output)

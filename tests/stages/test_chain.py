"""The whole pipeline through `dvc repro`, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.app import STAGES
from tests.small_project import CLASSES
from tests.stages.finished_project import run

BIN = Path(sys.executable).parent

# Runs at the start of every Python process and logs every network access.
GUARD = """
import os, socket
_connect, _lookup = socket.socket.connect, socket.getaddrinfo
def _note(what):
    with open(os.environ["NETWORK_TRIES"], "a") as file:
        file.write(f"{what}\\n")
    raise OSError("the network is switched off in this test")
def connect(self, address):
    return _connect(self, address) if self.family == socket.AF_UNIX else _note(address)
socket.socket.connect = socket.socket.connect_ex = connect
socket.getaddrinfo = lambda *a, **k: _note(a)
"""


class Repro:
    """`dvc repro` in a project, without a network and with an empty home folder."""

    def __init__(self, project: Path, tmp_path: Path) -> None:
        self.project = project
        self.tries = tmp_path / "network_tries"
        self.home = tmp_path / "home"
        guard = tmp_path / "guard"
        self.home.mkdir()
        guard.mkdir()
        (guard / "sitecustomize.py").write_text(GUARD)
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))
        } | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(guard),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NETWORK_TRIES": str(self.tries),
            "HOME": str(self.home),
            "DVC_SITE_CACHE_DIR": str(tmp_path / "site_cache"),
        }

    def __call__(self, *arguments: str) -> list[str]:
        """Runs it and returns the stages that were executed, in order."""
        return re.findall(r"Running stage '(\w+)'", self.dvc("repro", *arguments))

    def dvc(self, *arguments: str) -> str:
        """Runs a command of DVC and returns what it prints."""
        done = subprocess.run(
            [BIN / "dvc", *arguments],
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> None:
        """Commits what git does not ignore."""
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        for command in (["add", "-A"], ["commit", "-qm", "run"]):
            subprocess.run([*git, *command], cwd=self.project, check=True)

    def clone(self, tmp_path: Path) -> Repro:
        """A clone of the project without DVC's cache."""
        target = tmp_path / "clone" / "project"
        target.parent.mkdir()
        subprocess.run(["git", "clone", "-q", self.project, target], check=True)
        return Repro(target, target.parent)


def check_clone(repro: Repro, tmp_path: Path) -> None:
    """A clone shows the metrics, and gets all outputs from a remote: nothing is computed again."""
    repro.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    repro.commit()
    repro.dvc("push")
    clone = repro.clone(tmp_path)
    shown = json.loads(clone.dvc("metrics", "show", "--json"))[""]["data"]
    assert 8 <= len({key for file in shown.values() for key in file["data"]}) <= 10
    for path, file in shown.items():
        assert file["data"] == json.loads((repro.project / path).read_text())
    assert sorted(clone("--pull")) == ["inputs", "probe", "resolve"]
    archive = "dist/finch-student.tar.gz"
    assert (clone.project / archive).read_bytes() == (repro.project / archive).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_chain(project: Path, tmp_path: Path) -> None:
    repro = Repro(project, tmp_path)
    ran = repro()
    assert sorted(ran) == sorted(STAGES)

    archive = project / "dist/finch-student.tar.gz"
    manifest = json.loads((project / "dist/manifest.json").read_text())
    verified = json.loads((project / "reports/verify.json").read_text())
    assert archive.stat().st_size == verified["bundle_bytes"]
    assert manifest["labels"] == sorted(CLASSES)
    assert str(tmp_path) not in json.dumps(manifest)
    assert {c["status"] for c in manifest["candidates"]} <= {"shipped", "accepted", "rejected"}
    order = json.loads((project / "models/student/class_order.json").read_text())
    assert (order["kind"], order["classes"]) == ("index", sorted(CLASSES))
    page = (project / "reports/index.html").read_text()
    assert order["sha256"] in page
    assert manifest["chosen"]["name"] in page
    assert f"shipped model, verdict: {manifest['verdict']['level']}" in page

    plots = json.loads(repro.dvc("plots", "show", "--json"))["data"]
    points = {name: plot[0]["content"]["data"]["values"] for name, plot in plots.items()}
    assert points.keys() == {"learning", "confusion", "candidates"}
    hits = [point["class"] == point["prediction"] for point in points["confusion"]]
    student = json.loads((project / "reports/student_metrics.json").read_text())
    assert sum(hits) / len(hits) == student["val_student"]
    accuracies = [
        *(point["val_accuracy"] for point in points["learning"]),
        *(point["accuracy"] for point in points["candidates"]),
    ]
    assert all(0 <= float(accuracy) <= 1 for accuracy in accuracies)
    with (project / "reports/candidates.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert "teacher" in rows
    assert float(rows["onnxruntime-fp32"]["ratio"]) == 1 < float(rows["onnxruntime-fp32"]["bytes"])

    assert sorted(repro()) == ["inputs", "probe", "resolve"], (
        "a second run measures and trains nothing"
    )
    check_clone(repro, tmp_path)

    assert not repro.tries.exists(), repro.tries.read_text()
    left = [p.relative_to(repro.home) for p in repro.home.rglob("*") if p.is_file()]
    assert not [p for p in left if "intel" in str(p) or "onnxruntime" in str(p)], left


@pytest.mark.slow
def test_two_runs_give_the_same_student(project: Path) -> None:
    """In new processes, since forked ones would hash strings alike."""
    students = []
    for _ in range(2):
        for stage in ("prepare", "finetune", "cache_logits", "distill"):
            run([sys.executable, "-m", f"stages.{stage}"], project)
        students.append((project / "models/student/model.safetensors").read_bytes())
        for made in ("data", "models", "reports", ".finch"):
            shutil.rmtree(project / made)
    assert students[0] == students[1]

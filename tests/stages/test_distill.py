"""The class order from parameters to artefact, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_project import CLASSES, set_param


def call(stage: str, *overrides: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"stages.{stage}", *(f"--set={o}" for o in overrides)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_class_order_that_is_asked_for_is_kept(project: Path) -> None:
    set_param(project, "finetune.epochs", 1)
    set_param(project, "distill.epochs", 1)
    for stage in ("prepare", "finetune", "cache_logits"):
        done = call(stage, folder=project)
        assert done.returncode == 0, done.stderr

    wanted = ["square", "disc", "frame", "ring"]
    (project / "order.txt").write_text("square\ndisc\nfrane\nring\n")
    by_file = ("distill.class_order.kind=file", "distill.class_order.file=order.txt")
    refused = call("distill", *by_file, folder=project)
    assert refused.returncode == 1
    assert "order.txt, line 3: 'frane' is no class; close names: 'frame'" in refused.stderr
    assert not (project / "models/student").exists()

    def kept(*overrides: str) -> dict[str, object]:
        done = call("distill", *overrides, folder=project)
        assert done.returncode == 0, done.stderr
        order = json.loads((project / "models/student/class_order.json").read_text())
        model = json.loads((project / "models/student/model.json").read_text())
        assert model["class_order"]["sha256"] == order["sha256"]
        names = [model["classes"][place] for place in model["class_order"]["order"]]
        assert names == order["classes"]
        assert sorted(names) == sorted(CLASSES)
        return order

    (project / "order.txt").write_text("\n".join(wanted))
    assert kept(*by_file)["classes"] == wanted
    alike = ("distill.class_order.kind=similarity", "distill.class_order.similarity=weights")
    assert kept(*alike, "distill.method=dkd")["similarity"] == "weights"

    teacher = project / "models/teacher/model.json"
    info = json.loads(teacher.read_text())
    teacher.write_text(json.dumps({**info, "classes": info["classes"][:3]}))
    refused = call("distill", folder=project)
    assert "the teacher: knows 3 classes, the student is to learn 4" in refused.stderr

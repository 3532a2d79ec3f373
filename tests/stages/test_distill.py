"""The class order from parameters to artifact, as a user runs it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.small_project import CLASSES, PROJECT, set_param, write_unlabelled
from tests.stage_process import StageProcesses


def call(stage: str, *overrides: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return StageProcesses().run(folder, stage, *(f"--set={each}" for each in overrides))


@pytest.mark.slow
def test_the_class_order_is_saved_with_the_student(project: Path) -> None:
    set_param(project, "finetune.epochs", 1)
    set_param(project, "distill.epochs", 1)
    StageProcesses().run_all(project, "prepare", "finetune", "cache_logits")

    wanted = ["square", "disc", "frame", "ring"]
    (project / "order.txt").write_text("square\ndisc\nfrane\nring\n")
    by_file = ("distill.class_order.kind=file", "distill.class_order.file=order.txt")
    refused = call("distill", *by_file, folder=project)
    assert refused.returncode == 1
    assert "order.txt, line 3: 'frane'" in refused.stderr
    assert "frame" in refused.stderr
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
    energy = json.loads((project / "reports/student.json").read_text())["band_energy"]
    logits = torch.from_numpy(np.load(project / "data/teacher_logits/logits.npy")[0]).double()
    order = [sorted(CLASSES).index(name) for name in wanted]
    centered = (logits - logits.mean(1, keepdim=True))[:, order]
    pairs = centered.unflatten(1, (2, 2))  # the detail of Haar: differences of neighbors
    detail = (pairs[..., 0] - pairs[..., 1]).square().sum() / 2
    assert energy["detail1"] == pytest.approx(float(detail / centered.square().sum()))
    assert sum(energy.values()) == pytest.approx(1)
    alike = ("distill.class_order.kind=similarity", "distill.class_order.similarity=weights")
    assert kept(*alike, "distill.method=dkd")["similarity"] == "weights"

    teacher = project / "models/teacher/model.json"
    info = json.loads(teacher.read_text())
    teacher.write_text(json.dumps({**info, "classes": info["classes"][:3]}))
    refused = call("distill", folder=project)
    assert "the teacher: has 3 classes, the student has 4" in refused.stderr


@pytest.mark.slow
def test_a_live_teacher_trains_the_same_student_as_its_cache(project: Path, tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "more", images=20)
    set_param(project, "prepare.unlabelled", str(tmp_path / "more"))
    set_param(project, "finetune.epochs", 1)
    StageProcesses().run_all(project, "prepare", "finetune")

    def learned(*overrides: str) -> tuple[torch.Tensor, list[float]]:
        for stage in ("cache_logits", "distill"):
            done = call(stage, *overrides, folder=project)
            assert done.returncode == 0, done.stderr
        figures = json.loads((project / "reports/student.json").read_text())
        assert (figures["unlabelled"], figures["unlabelled_left_out"]) == (20, 0)
        with (project / "reports/student_history.csv").open() as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        tensors = load_file(project / "models/student/model.safetensors").values()
        return torch.cat([each.flatten() for each in tensors if each.is_floating_point()]), losses

    # As many views as epochs, so that a cached one is never shown twice.
    cached = ("cache_logits.views=2", "cache_logits.dtype=float32")
    weights, losses = learned(*cached)
    live_weights, live_losses = learned("cache_logits.views=0")
    assert [path.name for path in (project / "data/teacher_logits").iterdir()] == ["cache.json"]
    # Both teachers round differently, and training amplifies that: by about 5e-4 of the norm of the
    # weights. A student of a single view instead of two differs by 5e-2.
    assert live_losses == pytest.approx(losses, rel=5e-3)
    assert (live_weights - weights).norm() < 5e-3 * weights.norm()

    refused = call("distill", *cached, folder=project)
    assert refused.returncode == 1
    assert "was made with cache_logits.views = 0, expected 2" in refused.stderr
    assert "run `finch cache-logits`" in refused.stderr
    shutil.copy(PROJECT / "compare.yaml", project)
    compared = call("compare", folder=project)
    assert compared.returncode == 1
    assert "cache_logits.views = 0" in compared.stderr


@pytest.mark.slow
def test_a_student_starts_from_a_file_of_weights(project: Path) -> None:
    set_param(project, "finetune.epochs", 1)
    StageProcesses().run_all(project, "prepare", "finetune", "cache_logits")
    teacher = project / "models/teacher/model.safetensors"
    # So slow that what comes out is what it started from.
    slow = ("distill.lr=1e-9", "distill.epochs=1", "distill.pretrained=file")
    done = call("distill", *slow, f"distill.weights={teacher}", folder=project)
    assert done.returncode == 0, done.stderr
    student = load_file(project / "models/student/model.safetensors")
    for name, tensor in load_file(teacher).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(student[name], tensor, rtol=1e-4, atol=1e-6)
    refused = call("distill", *slow, "distill.weights=gone.safetensors", folder=project)
    assert refused.returncode == 1
    assert "gone.safetensors: cannot be read (No such file" in refused.stderr

"""Checkpoints of other programs as teacher and student, as a user brings them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from pipeline.files import hash_file
from tests.small_project import CLASSES, set_param
from tests.stage_process import StageProcesses
from tests.stages.finished_project import run_stages

ORDER = ("square", "disc", "frame", "ring")  # another one than the sorted names of the data


def call(*line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *line]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)


def write_checkpoint(
    path: Path, classes: tuple[str, ...] | None = ORDER
) -> dict[str, torch.Tensor]:
    """A checkpoint of a LightningModule that was trained under DistributedDataParallel."""
    torch.manual_seed(0)
    state = timm.create_model("test_efficientnet", num_classes=len(ORDER)).state_dict()
    content = {"epoch": 7, "state_dict": {f"module.model.{name}": t for name, t in state.items()}}
    if classes:
        content["hyper_parameters"] = {"class_names": list(classes), "lr": 0.1}
    torch.save(content, path)
    return state


def take(project: Path, section: str, weights: Path) -> None:
    for key, value in {"pretrained": "file", "weights": str(weights), "epochs": 0}.items():
        set_param(project, f"{section}.{key}", value)


@pytest.mark.slow
def test_a_teacher_and_a_student_that_exist_go_through_all_stages(
    project: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "best.ckpt"
    state = write_checkpoint(weights)
    take(project, "finetune", weights)
    take(project, "distill", weights)
    fp32 = {"name": "onnxruntime-fp32", "runtime": "onnxruntime", "precision": "fp32"}
    set_param(project, "quantize.candidates", [fp32])
    run_stages(project)
    for name in ("teacher", "student"):
        about = json.loads((project / f"models/{name}/model.json").read_text())
        assert about["classes"] == sorted(CLASSES)
        assert about["initial"]["weights_sha256"] == hash_file(weights)
        assert about["initial"]["untrained_classes"] == 0
        metrics = json.loads((project / f"reports/{name}.json").read_text())
        assert metrics["best_epoch"] == 0
        with (project / f"reports/{name}_history.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert row["epoch"] == "0"
        assert float(row["val_accuracy"]) == metrics["val_accuracy"]
        assert float(row["val_macro_f1"]) == metrics["val_macro_f1"]
        assert metrics["val_recall"].keys() == set(CLASSES)
    from safetensors.torch import load_file

    kept = load_file(project / "models/teacher/model.safetensors")
    rows = [ORDER.index(name) for name in sorted(CLASSES)]
    for name, tensor in state.items():
        expected = tensor[rows] if name.startswith("classifier.") else tensor
        assert torch.equal(kept[f"backbone.{name}"], expected), name
    page = (project / "reports/index.html").read_text(encoding="utf-8")
    assert "Not trained" in page
    plots = call("dvc", "plots", "show", folder=project)
    assert plots.returncode == 0, plots.stderr


@pytest.mark.slow
def test_a_head_without_names_is_refused_without_training(project: Path, tmp_path: Path) -> None:
    weights = tmp_path / "best.ckpt"
    write_checkpoint(weights, classes=None)
    take(project, "finetune", weights)
    stages = StageProcesses()
    stages.run_all(project, "prepare")
    refused = stages.run(project, "finetune")
    assert refused.returncode == 1
    assert "finetune.epochs = 0" in refused.stderr
    assert "class_names" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (project / "models/teacher").exists()
    (tmp_path / "labels.txt").write_text("\n".join(ORDER))
    done = stages.run(project, "finetune")
    assert done.returncode == 0, done.stderr
    assert "labels.txt" in done.stderr
    trained = stages.run(project, "finetune", "--set=finetune.epochs=1")
    assert trained.returncode == 0, trained.stderr


@pytest.mark.slow
def test_a_transformer_with_two_heads_is_a_teacher(project: Path) -> None:
    teacher = {"model": "deit_tiny_distilled_patch16_224", "freeze_epochs": 1, "lr": 0.001}
    for key, value in teacher.items():
        set_param(project, f"finetune.{key}", value)
    stages = ("prepare", "finetune", "cache_logits", "distill", "export")
    StageProcesses().run_all(project, *stages)
    parity = json.loads((project / "reports/parity.json").read_text())["teacher"]
    assert [difference["batch"] for difference in parity["differences"]] == [1, 2, 7]

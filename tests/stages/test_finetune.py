"""`finch finetune` as a single command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from dvc.repo import Repo

from stages import command
from stages.finetune import finetune
from tests.prepared_data import write_prepared
from tests.small_project import small_params


def test_the_student_is_tried_before_the_teacher_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)
    pixels, labels = np.zeros((4, 16, 16, 3), np.uint8), np.array([0, 0, 1, 1])
    splits = dict.fromkeys(("train", "val", "test"), (pixels, labels))
    write_prepared(tmp_path / "data/prepared", ("ant", "bee"), splits)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params(tmp_path)))

    changes = ["--set", "distill.model=torchvision/vgg11", "--set", "prepare.image_size=16"]
    done = CliRunner().invoke(finetune, changes)
    assert done.exit_code == 1
    words = ("distill.model", "torchvision/vgg11", "16 px", "distill.image_size to 32")
    assert all(word in done.output for word in words), done.output
    assert not (tmp_path / "models").exists()


def test_a_repository_without_a_commit_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVCLive, which plots the epochs, fails there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init().close()
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (8, 32, 32, 3), np.uint8), np.array([0, 1] * 4)
    splits = dict.fromkeys(("train", "val", "test"), (pixels, labels))
    write_prepared(tmp_path / "data/prepared", ("ant", "bee"), splits)
    params = small_params(tmp_path)
    params["finetune"] |= {"epochs": 1, "batch_size": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    done = CliRunner().invoke(finetune, [])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "models/teacher/model.json").is_file()

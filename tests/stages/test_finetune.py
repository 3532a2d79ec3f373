"""`finch finetune` as a single command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

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

"""`finch prepare` on folders as data sharing sites publish them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small_project import CLASSES, set_param
from tests.stage_process import StageProcesses


def prepare(folder: Path) -> str:
    done = StageProcesses().run(folder, "prepare")
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_training_and_testing_folders_are_splits_and_the_log_says_so(
    project: Path, tmp_path: Path
) -> None:
    photos, published = tmp_path / "photos", tmp_path / "published"
    for kind in CLASSES:
        for number, photo in enumerate(sorted((photos / kind).iterdir())):
            split = "Testing" if number % 4 == 0 else "Training"
            (published / split / kind).mkdir(parents=True, exist_ok=True)
            photo.rename(published / split / kind / photo.name)
    set_param(project, "prepare.path", str(published))
    log = prepare(project)
    assert "Training is train" in log and "Testing is test" in log
    assert "no split for val" in log
    made = json.loads((project / "data/prepared/dataset.json").read_text(encoding="utf-8"))
    assert sorted(made["classes"]) == sorted(CLASSES)
    assert made["audit"]["split"] == {"method": "published", "carved": ["val"]}
    for split, folder in (("train", "Training"), ("val", "Training"), ("test", "Testing")):
        names = (project / f"data/prepared/{split}/names.txt").read_text(encoding="utf-8")
        assert {name.split("/")[0] for name in names.splitlines()} == {folder}

    set_param(project, "prepare.split", "random")
    assert "pooled" in prepare(project)

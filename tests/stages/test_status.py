"""`finch status` in a small DVC repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dvc.repo import Repo

from pipeline.errors import FinchError
from stages.app import main
from stages.staleness import read_states
from tests.small_project import PROJECT

PARAMS = {"distill": {"lr": 0.1, "layers": [1, 2]}, "run": {"seed": 0}}
COPY = {
    "look": {
        "cmd": "cp params.yaml seen.yaml",
        "always_changed": True,
        "deps": ["params.yaml"],
        "outs": ["seen.yaml"],
    },
    "train": {
        "cmd": "cp photos.txt model.txt",
        "deps": ["photos.txt"],
        "params": [{"reports/params.yaml": ["distill"]}],
        "outs": ["model.txt"],
    },
    "pack": {"cmd": "cp model.txt dist.txt", "deps": ["model.txt"], "outs": ["dist.txt"]},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Repo.init(str(tmp_path), no_scm=True).close()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": COPY}, sort_keys=False))
    (tmp_path / "photos.txt").write_text("photos")
    (tmp_path / "params.yaml").write_text("{}")
    return tmp_path


def states(folder: Path, params: dict[str, object] = PARAMS) -> dict[str, tuple[str, list[str]]]:
    return {each.name: (each.state, each.reasons) for each in read_states(folder, params)}


def test_every_reason_to_run_is_named_where_it_arises(folder: Path) -> None:
    assert states(folder)["train"] == ("stale", ["has not run yet"])
    with Repo(str(folder)) as repo:
        repo.reproduce()
    everything = {"look": ("check", []), "train": ("current", []), "pack": ("current", [])}
    assert states(folder) == everything

    # Before any stage has written the new value.
    changed = PARAMS | {"distill": {"lr": 0.2, "layers": [1, 2]}, "run": {"seed": 5}}
    following = {"pack": ("follows", ["train"])}
    reason = ["distill.lr: 0.1 -> 0.2"]
    assert states(folder, changed) == everything | {"train": ("stale", reason)} | following

    (folder / "photos.txt").write_text("others")
    (folder / "model.txt").unlink()
    reason = ["photos.txt has changed", "model.txt is missing"]
    assert states(folder) == everything | {"train": ("stale", reason)} | following

    (folder / "photos.txt").write_text("photos")
    (folder / "model.txt").write_text("photos")
    text = (folder / "dvc.yaml").read_text().replace("cp model.txt dist", "cp -p model.txt dist")
    (folder / "dvc.yaml").write_text(text)
    assert states(folder) == everything | {"pack": ("stale", ["its command has changed"])}


def test_a_folder_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FinchError, match="is in no DVC repository; git init && dvc init"):
        read_states(tmp_path, PARAMS)


def test_the_command_prints_one_line_for_each_stage_and_a_summary(folder: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", folder)
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 0, done.output
    look, train, pack, summary = done.output.splitlines()
    assert look.split() == ["look", "stale", "has", "not", "run", "yet"]
    assert train.startswith("train ") and pack.startswith("pack ")
    assert summary == "0 of 3 stages are up to date; `dvc repro` runs look, train, pack"
    listed = json.loads(CliRunner().invoke(main, ["status", "--json"]).output)
    assert [each["name"] for each in listed] == ["look", "train", "pack"]

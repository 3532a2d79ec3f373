"""The run in the last commit."""

import json
import subprocess

import pytest
import yaml

from pipeline.params import load_params
from stages.last_run import read_last_run
from tests.small_project import PROJECT

METRICS = {"test_accuracy": 0.5, "p50_ms": 1.25}


def git(folder, *words):
    name = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgSign=false")
    subprocess.run(("git", *name, *words), cwd=folder, check=True, capture_output=True)


def locked(path="/home/someone/photographs"):
    """``dvc.lock`` with the parameters of the default run, as DVC writes them."""
    params = load_params(PROJECT / "params.yaml", [f"prepare.path={path}"]).model_dump()
    stages = {
        "finetune": {"finetune": params["finetune"], "distill.image_size": 64},
        "prepare": {"prepare": params["prepare"]},
        "distill": {"distill": {**params["distill"], "image_size": 64}},
        "quantize": {"quantize": params["quantize"]},
    }
    of = {name: {"params": {"reports/params.yaml": each}} for name, each in stages.items()}
    return yaml.safe_dump({"schema": "2.0", "stages": of})


@pytest.fixture(params=["", "below/here"])
def project(tmp_path, request):
    """A project with a committed run, which may lie inside a repository."""
    folder = tmp_path / request.param
    (folder / "reports").mkdir(parents=True)
    (folder / "reports/metrics.json").write_text(json.dumps(METRICS))
    (folder / "dvc.lock").write_text(locked())
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "a run")
    return folder


def test_metrics_and_parameters_are_those_of_the_commit(project):
    (project / "reports/metrics.json").write_text("{}")
    (project / "dvc.lock").write_text("")
    found = read_last_run(project)
    assert found.metrics == METRICS and len(found.commit) >= 7
    assert found.params["distill.image_size"] == 64
    assert found.params["finetune.lr"] == 0.01
    assert "run.seed" not in found.params, "no stage in dvc.lock depends on it"


def test_local_paths_are_hidden(project):
    found = read_last_run(project)
    assert found.params["prepare.path"] == "(local)"
    assert "someone" not in str(found)


@pytest.mark.parametrize("lock", ["", "stages: 3", "- 1", "stages: {a: {params: {}}}", "a: ["])
def test_a_lock_that_says_nothing_is_no_error(project, lock):
    (project / "dvc.lock").write_text(lock)
    git(project, "commit", "--quiet", "--all", "--message", "another lock")
    found = read_last_run(project)
    assert found is None or found.params == {}


def test_without_a_committed_run_there_is_none(tmp_path):
    assert read_last_run(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert read_last_run(tmp_path) is None
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "empty")
    assert read_last_run(tmp_path) is None


def test_without_git_there_is_none(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_last_run(project) is None

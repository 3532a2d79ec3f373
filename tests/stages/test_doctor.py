"""`finch doctor` on machines that lack something."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.doctor import Check, examine
from pipeline.params import load_params
from stages.app import main
from tests.small_project import PROJECT


def found(folder: Path, *overrides: str) -> dict[str, Check]:
    params = load_params(PROJECT / "params.yaml", overrides)
    return {check.name: check for check in examine(params, folder)}


def test_a_missing_package_names_its_stages_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name in ("openvino", "timm"):
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    checks = found(tmp_path)
    assert checks["openvino"].state == checks["timm"].state == "missing"
    assert "evaluate" in checks["openvino"].needed_by
    assert checks["openvino"].remedy == "pip install openvino"
    assert checks["onnx"] == Check("onnx", "ok", "1.0", ("export", "quantize"))
    only = 'quantize.candidates=[{"name": "a", "runtime": "onnxruntime", "precision": "fp32"}]'
    assert "openvino" not in found(tmp_path, only)  # no stage would use it


def test_git_without_a_commit_and_a_folder_without_dvc(tmp_path: Path) -> None:
    assert found(tmp_path)["git"].remedy == "git init"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    checks = found(tmp_path)
    assert (checks["git"].state, checks["git"].found) == ("missing", "no commit yet")
    assert checks["DVC repository"].remedy == "dvc init"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    assert found(tmp_path)["git"].state == "ok"


def test_a_device_that_cannot_be_reached_has_a_remedy(tmp_path: Path) -> None:
    pi = 'evaluate.devices=[{"name": "pi", "host": "nobody@127.0.0.1", "port": 9}]'
    check = found(tmp_path, pi, "bundle.device=pi")["device pi"]
    assert check.state == "missing" and check.remedy
    assert check.needed_by == ("probe", "evaluate")


def test_the_command_exits_with_1_if_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1, done.output
    assert "missing  git" in done.output and "(for dvc repro): git init" in done.output
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    done = CliRunner().invoke(main, ["doctor", "--json"])
    names = [check["name"] for check in json.loads(done.output)]
    assert names[0] == "Python" and {"torch", "CPU", "disk"} <= set(names)
    (tmp_path / "params.yaml").write_text("distil: {}")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.output.startswith("missing  params.yaml")
    assert "did you mean distill?" in done.output

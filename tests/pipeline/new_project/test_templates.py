"""The files of a new project against those of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.new_project import files
from pipeline.params import load_params
from tests.small_project import PROJECT

TEMPLATES = Path(files.__file__).parent / "templates"
OWN = yaml.safe_load((TEMPLATES / "stages.yaml").read_text())
HERE = yaml.safe_load((PROJECT / "dvc.yaml").read_text())


def params_by_file(stage: dict[str, Any]) -> dict[str, Any]:
    return {path: keys for entry in stage.get("params", []) for path, keys in entry.items()}


@pytest.mark.parametrize("name", HERE["stages"])
def test_a_stage_depends_on_a_fingerprint_in_place_of_folders_of_code(name: str) -> None:
    own, here = OWN["stages"][name], HERE["stages"][name]
    assert own["cmd"] == f"finch {name.replace('_', '-')}"
    code = ("stages/", "pipeline/", "deploy/")
    data = [path for path in here["deps"] if not f"{path}/".startswith(code)]
    assert own.get("deps", []) == data
    expected = params_by_file(here)
    if not here.get("always_changed"):
        expected["reports/code.json"] = [name]
    assert params_by_file(own) == expected
    same = here.keys() - {"cmd", "deps", "params"}
    assert {key: own.get(key) for key in same} == {key: here[key] for key in same}


def test_the_fingerprints_are_always_computed_and_nothing_else_is_added() -> None:
    added = OWN["stages"].keys() - HERE["stages"].keys()
    assert added == {"code"}
    assert OWN["stages"]["code"]["always_changed"]
    assert OWN["stages"]["code"]["outs"] == ["reports/code.json"]
    assert OWN["plots"] == HERE["plots"]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("compare.yaml", "compare.yaml"),
        ("scout.yaml", "scout.yaml"),
        ("candidates.json", ".dvc/plots/candidates.json"),
        ("dvc_config", ".dvc/config"),
    ],
)
def test_other_files_have_the_values_of_this_project(template: str, path: str) -> None:
    def values(file: Path) -> Any:
        text = file.read_text()
        return yaml.safe_load(text) if file.suffix in (".yaml", ".json") else text

    assert values(TEMPLATES / template) == values(PROJECT / path)


def test_git_ignores_the_outputs_but_the_metrics() -> None:
    own, here = ((TEMPLATES / "gitignore"), (PROJECT / ".gitignore"))
    kept = [set(path.read_text().split()) for path in (own, here)]
    assert {line for line in kept[1] if "reports" in line} <= kept[0]
    assert {"/data/", "/models/", "/dist/", "/.finch/"} <= kept[0]


@pytest.mark.parametrize("name", ["birds", "Vögel & co.", "...", "a" * 200])
def test_parameters_are_valid_for_any_name_and_path(tmp_path: Path, name: str) -> None:
    images = "/data/my: 'birds' # 1"
    files.write_files(tmp_path, name, images)
    params = load_params(tmp_path / "params.yaml")
    assert params.prepare.path == images
    assert f"`dist/{params.bundle.name}.tar.gz`" in (tmp_path / "README.md").read_text()

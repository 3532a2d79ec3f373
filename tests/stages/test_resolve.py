"""Values in force, as DVC tracks them: `finch resolve` and the parameters of dvc.yaml."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.params import load_params
from stages.app import STAGES
from tests.fake_stages import ALWAYS, dvc, fake_stages, repro, run_dvc, stages_in
from tests.small_project import PROJECT, set_param


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def fake_project(project: Path) -> Path:
    """The project with its own dvc.yaml, in which only resolve and inputs do anything."""
    fake_stages(project)
    return project


def test_dvc_yaml_names_code_and_parameters_that_exist() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert tuple(stages) == STAGES
    values = load_params(PROJECT / "params.yaml").model_dump()
    for stage in stages.values():
        for path in stage["deps"]:
            if path.startswith(("pipeline/", "stages/", "deploy/")):
                assert (PROJECT / path).exists(), path
        # No keys: the stage depends on the whole file.
        for key in stage.get("params", [{}])[0].get("reports/params.yaml") or []:
            section = values
            for name in key.split("."):
                section = section[name]


@pytest.mark.slow
def test_a_changed_default_runs_the_stages_that_read_its_section(fake_project: Path) -> None:
    assert {*ALWAYS, *repro(fake_project)} == set(STAGES)
    assert repro(fake_project) == []
    resolved = yaml.safe_load((fake_project / "reports/params.yaml").read_text())
    assert resolved == load_params(fake_project / "params.yaml").model_dump()

    params = fake_project / "pipeline/params"
    edit(params / "shipping.py", "1e-4", "2e-4")
    # The bundle's manifest lists all parameters.
    assert set(repro(fake_project)) == {"export", "qat", "bundle"}
    assert "export.tolerance" in dvc(fake_project, "params", "diff")

    edit(
        params / "views.py", "hue: float = Field(\n        0.0", "hue: float = Field(\n        0.1"
    )
    ran = set(repro(fake_project))
    assert ran == {"finetune", "cache_logits", "distill", "qat", "bundle"}

    edit(fake_project / "pipeline/losses/kd.py", "= 4.0", "= 3.0")
    assert set(repro(fake_project)) == {"distill", "qat", "bundle"}

    # The file sets it, so the default is not in force.
    edit(
        params / "evaluate.py",
        "warmup_seconds: float = Field(\n        0.2",
        "warmup_seconds: float = Field(\n        0.3",
    )
    assert repro(fake_project) == []

    set_param(fake_project, "bundle.percentile", "p99")
    assert repro(fake_project) == ["bundle"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distill.model": "mobilnetv2_035"}, ["distill.model", "mobilenetv2_035"]),
        # A network with windows, after the teacher was tried at the same size.
        (
            {"distill.model": "test_vit", "prepare.image_size": 100},
            ["distill.model", "test_vit", "100 px", "distill.image_size to 96"],
        ),
        (
            {"finetune.pretrained": "file", "finetune.weights": "gone.pth"},
            ["finetune", "gone.pth", "`weights`"],
        ),
    ],
)
def test_an_impossible_network_stops_before_prepare(
    fake_project: Path, settings: dict[str, object], words: list[str]
) -> None:
    for key, value in settings.items():
        set_param(fake_project, key, value)
    done = run_dvc(fake_project, "repro")
    assert done.returncode != 0
    assert stages_in(done.stdout) == ["resolve"]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("finch resolve: ")]
    assert all(word in line for word in words), line
    assert not (fake_project / "data/prepared").exists()


@pytest.mark.slow
def test_an_experiment_sets_a_parameter(fake_project: Path) -> None:
    repro(fake_project)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(fake_project)]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "built"], check=True)
    output = dvc(fake_project, "exp", "run", "-S", "distill.lr=0.5", "-S", "+distill.figkd.level=2")
    assert set(stages_in(output)) == {*ALWAYS, "distill", "qat", "bundle"}
    resolved = yaml.safe_load((fake_project / "reports/params.yaml").read_text())
    assert (resolved["distill"]["lr"], resolved["distill"]["figkd"]["level"]) == (0.5, 2)
    again = ["exp", "run", "--single-item", "-S", "distill.lr=0.6", "resolve", "distill"]
    assert stages_in(dvc(fake_project, *again)) == ["resolve", "distill"]

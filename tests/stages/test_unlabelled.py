"""Images without labels, from the folder to the student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.errors import ParameterError
from pipeline.params import load_params
from stages.inputs import inputs
from stages.prepare import prepare
from tests.small_project import (
    CLASSES,
    PROJECT,
    set_param,
    small_params,
    write_photos,
    write_unlabelled,
)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with 24 images per class, and 20 without labels."""
    write_photos(tmp_path / "photos", per_class=24)
    write_unlabelled(tmp_path / "more", images=20)
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text(yaml.safe_dump(small_params(tmp_path / "photos")))
    set_param(project, "prepare.unlabelled", str(tmp_path / "more"))
    for name in ("pipeline", "stages", "deploy"):
        (project / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(project)
    return project


def test_a_folder_with_a_validation_image_is_refused_or_it_is_left_out(small: Path) -> None:
    assert CliRunner().invoke(prepare, []).exit_code == 0
    whole = json.loads((small / "data/prepared/dataset.json").read_text())
    assert whole["unlabelled"]["images"] == 20
    leaked = (small / "data/prepared/val/names.txt").read_text().splitlines()[0]
    shutil.copy(small.parent / "photos" / leaked, small.parent / "more/leaked.png")

    refused = CliRunner().invoke(prepare, [])
    assert refused.exit_code == 1
    assert f"leaked.png = {leaked} (val)" in refused.output
    assert "prepare.on_bad: skip" in refused.output
    audit = json.loads((small / "reports/audit.json").read_text())["unlabelled"]
    assert [found["name"] for found in audit["in_evaluation"]] == ["leaked.png"]

    skipped = CliRunner().invoke(prepare, ["--set", "prepare.on_bad=skip"])
    assert skipped.exit_code == 0
    assert "20 of 21 images without labels are used; left out: 1 that show" in skipped.output
    assert json.loads((small / "data/prepared/dataset.json").read_text()) == whole

    # Without the folder, nothing of it remains.
    plain = CliRunner().invoke(prepare, ["--set", "prepare.unlabelled=null"])
    assert plain.exit_code == 0
    without = json.loads((small / "data/prepared/dataset.json").read_text())
    assert not (small / "data/prepared/unlabelled").exists()
    assert without["splits"] == whole["splits"]
    assert without.keys() == whole.keys() - {"unlabelled"}


def test_a_changed_folder_is_another_input_of_prepare(small: Path) -> None:
    def recorded() -> dict[str, object]:
        assert CliRunner().invoke(inputs, []).exit_code == 0
        return dict(json.loads((small / "reports/inputs.json").read_text())["prepare"])

    before = recorded()
    assert before["files"] == 24 * len(CLASSES) + 20
    more = small.parent / "more"
    (more / "00.png").rename(more / "monday/00.png")
    assert recorded() != before


def test_the_method_is_checked_with_the_other_parameters(small: Path) -> None:
    set_param(small, "distill.method", "dkd")
    with pytest.raises(ParameterError, match="learns nothing from images without labels"):
        load_params(small / "params.yaml")
    set_param(small, "distill.unlabelled", {"ratio": 0.0})
    load_params(small / "params.yaml")

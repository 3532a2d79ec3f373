"""`finch presets` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.params import load_params
from pipeline.presets import data_names, load_preset, method_names, pair_names
from stages.app import main

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def test_list_shows_every_preset_with_untruncated_names(runner: CliRunner) -> None:
    done = runner.invoke(main, ["presets", "list"])
    assert done.exit_code == 0, done.output
    rows = [line.split("│")[1:-1] for line in done.output.splitlines() if "│" in line]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert list(cells) == pair_names()
    for name in cells:
        assert load_preset(name)["distill"]["model"] in cells[name]
    assert cells["resnet56-resnet20"] == [
        "cifar_resnet56", "0.86 M", "cifar_resnet20", "0.28 M", "240", "0.05",
    ]  # fmt: skip
    for name in (*data_names(), *method_names()):
        assert f"finch presets show {name}" in done.output


def test_show_prints_yaml(runner: CliRunner) -> None:
    done = runner.invoke(main, ["presets", "show", "vgg13-vgg8"])
    assert yaml.safe_load(done.output) == load_preset("vgg13-vgg8")


def test_apply_writes_the_parameter_file(runner: CliRunner) -> None:
    done = runner.invoke(main, ["presets", "apply", "resnet32x4-shufflenet_v2"])
    assert done.exit_code == 0, done.output
    assert load_params(Path("params.yaml")).distill.model == "cifar_shufflenet_v2"
    assert "distill.model: mobilenetv2_035 -> cifar_shufflenet_v2\n" in done.output
    *changes, last = done.output.splitlines()
    assert last == f"params.yaml: {len(changes)} values changed"
    done = runner.invoke(main, ["presets", "apply", "resnet32x4-shufflenet_v1"])
    assert done.output.splitlines()[-1] == "params.yaml: 1 value changed"


@pytest.mark.parametrize("action", ["show", "apply"])
def test_an_unknown_preset_is_refused_in_one_line(runner: CliRunner, action: str) -> None:
    before = Path("params.yaml").read_bytes()
    done = runner.invoke(main, ["presets", action, "vgg13-vgg9"])
    assert done.exit_code == 1
    assert done.output.startswith("finch presets: ")
    assert done.output.count("\n") == 1
    assert "vgg13-vgg8" in done.output
    assert Path("params.yaml").read_bytes() == before


def test_help_lists_inputs_and_outputs(runner: CliRunner) -> None:
    done = runner.invoke(main, ["presets", "--help"])
    assert "Reads:" in done.output
    assert "Writes: params.yaml" in done.output
    for command in ("list", "show", "apply"):
        assert command in done.output

"""`finch params` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.params import load_params
from stages.app import main

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)


def params(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["params", *arguments])


def test_the_output_is_yaml_of_all_values_in_force() -> None:
    done = params("--set", "distill.lr=0.3")
    assert done.exit_code == 0, done.output
    values = load_params(Path("params.yaml"), ["distill.lr=0.3"]).model_dump()
    assert yaml.safe_load(done.output) == values
    assert "\x1b" not in done.output


def test_every_value_has_its_source() -> None:
    lines = params("--set", "distill.class_order.seed=3").output.splitlines()
    sources = {
        line.split(":")[0].strip(): line.rpartition("# ")[2] for line in lines if "# " in line
    }
    assert sources["seed"] == "--set"  # the last seed in the file's order
    assert (sources["vertical_flip"], sources["hue"]) == ("recipe solar-cells", "default")
    assert sources["percentile"] == "params.yaml"


def test_one_section() -> None:
    done = params("--section", "distill.figkd")
    assert yaml.safe_load(done.output)["distill"].keys() == {"figkd"}
    assert all("# default" in line for line in done.output.splitlines()[2:])


def test_json_has_value_and_source_by_key() -> None:
    leaves = json.loads(params("--json", "--set", "distill.lr=0.3").output)
    assert leaves["distill.lr"] == {"value": 0.3, "source": "--set"}
    assert leaves["distill.epochs"] == {"value": 30, "source": "recipe solar-cells"}
    assert leaves["distill.method"] == {"value": "figkd", "source": "params.yaml"}
    assert leaves["distill.momentum"] == {"value": 0.9, "source": "default"}
    assert leaves["quantize.candidates.0.name"]["source"] == "params.yaml"


@pytest.mark.parametrize(
    ("section", "close"), [("distil", "distill"), ("distill.figkdd", "figkd"), ("run.seed.x", "x")]
)
def test_an_unknown_section_is_refused_in_one_line(section: str, close: str) -> None:
    done = params("--section", section)
    assert done.exit_code == 1
    assert done.output.startswith("finch params: ")
    assert done.output.count("\n") == 1
    assert section in done.output and close in done.output

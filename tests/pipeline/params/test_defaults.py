"""The values of parameters that the file does not set."""

import pytest

from pipeline.params import load_params
from pipeline.params.defaults import default_values
from pipeline.params.editing import flattened, merged
from tests.small_project import PROJECT


@pytest.mark.parametrize("recipe", ["photographs", "solar-cells"])
def test_they_are_those_of_a_file_that_sets_only_what_must_be_set(tmp_path, recipe):
    path = tmp_path / "params.yaml"
    path.write_text(
        f"recipe: {recipe}\n"
        "quantize: {candidates: [{name: a, runtime: onnxruntime, precision: fp32}]}\n"
    )
    loaded = load_params(path).model_dump()
    candidates = {"quantize": {"candidates": loaded["quantize"]["candidates"]}}
    expected = merged(default_values(recipe), candidates) | {"recipe": recipe}
    assert expected == loaded


def test_without_a_recipe_parameters_that_must_be_set_are_missing():
    defaults = dict(flattened(default_values("none")))
    assert "finetune.epochs" not in defaults and "quantize.candidates" not in defaults
    assert defaults["finetune.image_size"] == defaults["prepare.image_size"]
    assert defaults["evaluate.devices"][0]["name"] == "local"


def test_the_default_run_differs_in_its_candidates_alone():
    params = dict(flattened(load_params(PROJECT / "params.yaml").model_dump()))
    defaults = dict(flattened(default_values("solar-cells")))
    differing = {name for name, value in params.items() if defaults.get(name) != value}
    assert differing - {"recipe"} <= {"quantize.candidates", "quantize.calibration_images"}

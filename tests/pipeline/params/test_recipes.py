import math

import pytest
import yaml

from pipeline.params import load_params, params_model
from pipeline.params.editing import merged
from pipeline.params.recipes import load_recipe, recipe_name
from tests.pipeline.params.own_file import FILE, leaves, refusal

RECIPES = ("photographs", "solar-cells")
FOLDER = ("prepare.source=folder", "prepare.path=/data/birds")


@pytest.fixture
def path(tmp_path):
    """The file of a person who edits only the source and the path of their images."""
    text = FILE.read_text(encoding="utf-8")
    text = text.replace("source: elpv", "source: folder").replace("path: null", "path: /data/birds")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "params.yaml"


def test_with_source_and_path_alone_a_folder_gets_what_suits_photographs(path):
    params = load_params(path)
    assert (params.prepare.source, params.prepare.path) == ("folder", "/data/birds")
    assert not params.views.vertical_flip and not params.views.quarter_turns
    for network in (params.finetune, params.distill):
        assert network.pretrained == "package"
        # 150 photographs are shown often enough, and 150,000 not for days.
        few, many = (network.for_images(count) for count in (150, 150_000))
        assert few.epochs * math.ceil(150 / few.batch_size) >= 400
        assert many.epochs < network.epochs < few.epochs
        # 150 photographs do not change the pretrained backbone, and 150,000 do.
        assert (few.freeze_epochs, many.freeze_epochs) == (few.epochs, 0)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("folder", "photographs"),
        ("csv", "photographs"),
        ("cub200", "photographs"),
        ("elpv", "solar-cells"),
    ],
)
def test_the_source_selects_the_recipe(source, name):
    assert recipe_name({"prepare": {"source": source}}) == name
    assert recipe_name({"prepare": {"source": source}, "recipe": "auto"}) == name


def test_the_projects_file_has_the_recipe_of_its_solar_cells():
    params = load_params(FILE)
    assert (params.distill.model, params.distill.pretrained) == ("mobilenetv2_035", "none")
    assert params.views.vertical_flip and params.views.quarter_turns
    assert not params.views.imitates_the_field
    assert params.distill.for_images(10).epochs == params.distill.epochs


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("source", ["folder", "elpv"])
def test_a_named_recipe_is_valid_with_every_source_and_its_values_apply(name, source):
    params = load_params(FILE, [*FOLDER, f"prepare.source={source}", f"recipe={name}"])
    values, given = dict(leaves(params.model_dump())), dict(leaves(load_recipe(name)))
    assert {key: values[key] for key in given} == given


def test_values_of_the_file_and_of_the_command_line_win(path):
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw |= {"views": {"rotate": 0.0}, "distill": {"steps": {"min": None}, "lr": 0.2}}
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    recipe = load_recipe("photographs")
    params = load_params(path, ["views.hue=0.01", "distill.lr=0.3"])
    assert (params.views.rotate, params.views.hue) == (0.0, 0.01)
    assert (params.distill.lr, params.distill.steps.min) == (0.3, None)
    # Other values of the same sections are those of the recipe.
    assert params.views.crop_scale == recipe["views"]["crop_scale"]
    assert params.distill.steps.max == recipe["distill"]["steps"]["max"]


def test_a_file_that_sets_everything_itself_has_no_need_of_a_recipe(path):
    """As params.yaml before there were recipes."""
    full = merged(load_recipe("solar-cells"), yaml.safe_load(FILE.read_text(encoding="utf-8")))
    path.write_text(yaml.safe_dump({**full, "recipe": "none"}), encoding="utf-8")
    assert load_params(path).model_dump() == {
        **load_params(FILE).model_dump(),
        "recipe": "none",
    }
    del full["recipe"]
    path.write_text(yaml.safe_dump(full), encoding="utf-8")
    assert load_params(path) == load_params(FILE)


def test_without_a_recipe_missing_values_are_named():
    assert "distill.lr is missing" in refusal(FILE, "recipe=none")


@pytest.mark.parametrize("name", ["photograph", "[photographs]", "3"])
def test_an_unknown_recipe_is_refused_with_those_that_there_are(name):
    message = refusal(FILE, f"recipe={name}")
    assert "recipe" in message and "photographs" in message


def test_recipes_leave_the_choice_of_the_data_and_of_the_device_to_the_file():
    for name in RECIPES:
        keys = dict(leaves(load_recipe(name)))
        assert not {"prepare.source", "prepare.path", "recipe"} & keys.keys()
        assert {key.split(".")[0] for key in keys} <= set(params_model().model_fields)

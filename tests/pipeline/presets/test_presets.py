from pathlib import Path

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
import yaml

from pipeline.errors import ParameterError
from pipeline.losses import build_loss
from pipeline.losses.figkd.class_order import order_classes
from pipeline.models.zoo import full_name
from pipeline.params import load_params, read_values
from pipeline.params.editing import merged
from pipeline.params.loading import validate_params
from pipeline.presets import apply_preset, data_names, load_preset, method_names, pair_names

PROJECT = Path(__file__).parents[3]
FILE = PROJECT / "params.yaml"
FIVE_TIMES_SLOWER = {"cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2"}


@pytest.fixture
def path(tmp_path):
    copy = tmp_path / "params.yaml"
    copy.write_bytes(FILE.read_bytes())
    return copy


def set_values(path, section, **values):
    raw = yaml.safe_load(path.read_text())
    raw[section].update(values)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))


def effective(values):
    """The effective values of a file with these values."""
    return validate_params(FILE, values).model_dump()


def effective_params(preset):
    """The parameters of the project's file with a preset."""
    return validate_params(FILE, merged(read_values(FILE), preset))


@pytest.mark.parametrize("name", pair_names())
def test_a_preset_is_the_recipe_of_the_literature_and_valid_with_the_projects_file(name):
    preset = load_preset(name)
    params = validate_params(FILE, merged(read_values(FILE), preset))
    teacher, student = name.split("-")
    assert params.finetune.model == full_name(f"cifar_{teacher}")
    assert params.distill.model == full_name(f"cifar_{student}")
    for recipe in (params.finetune, params.distill):
        assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (240, 64, 5e-4)
        assert (recipe.optimizer, recipe.momentum, recipe.warmup) == ("sgd", 0.9, 0.0)
        assert recipe.schedule == "multi_step"
        assert [240 * fraction for fraction in recipe.milestones] == [150, 180, 210]
        assert recipe.gamma == 0.1
        assert recipe.lr == (0.01 if recipe.model in FIVE_TIMES_SLOWER else 0.05)
    assert (params.prepare.source, params.prepare.image_size) == ("cifar100", 32)
    assert params.finetune.pretrained == "none"
    assert not params.views.imitates_the_field
    assert params.distill.for_images(45_000).epochs == 240


@pytest.mark.parametrize("name", data_names())
def test_a_data_set_can_be_left_for_another_and_taken_up_again(path, name):
    start = load_params(path)
    apply_preset(name, path)
    assert load_params(path) == effective_params(load_preset(name))
    apply_preset("solar-cells", path)
    again = load_params(path)
    unused = {"typefaces": start.prepare.typefaces}  # options of another source stay
    assert again.prepare.model_copy(update=unused) == start.prepare
    assert (again.views, again.finetune, again.distill) == (
        start.views,
        start.finetune,
        start.distill,
    )


def test_text_is_not_mirrored(path):
    apply_preset("typefaces", path)
    views = load_params(path).views
    assert not (views.horizontal_flip or views.vertical_flip or views.quarter_turns)


def test_all_pairs_of_the_literature_exist():
    """Tables 1 and 2 of "Contrastive Representation Distillation" (ICLR 2020)."""
    one = "wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1 resnet56-resnet20 resnet110-resnet20 "
    one += "resnet110-resnet32 resnet32x4-resnet8x4 vgg13-vgg8"
    two = "vgg13-mobilenet_v2 resnet50-mobilenet_v2 resnet50-vgg8 resnet32x4-shufflenet_v1 "
    two += "resnet32x4-shufflenet_v2 wrn_40_2-shufflenet_v1"
    assert set(pair_names()) == {*one.split(), *two.split()}


def test_the_paper_preset_is_the_distance_between_details_alone(path):
    """Whatever the file set before: compared with the formula, by PyWavelets' own transform."""
    set_values(path, "distill", class_order={"kind": "random"}, figkd={"redraw": True})
    assert "paper" in method_names()
    apply_preset("paper", path)
    distill = load_params(path).distill
    student, teacher = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (2, 5, 12)))
    labels = torch.arange(5)
    order = order_classes(
        distill.class_order,
        labels.numpy(),
        teacher[None].numpy(),
        classes="abcdefghijkl",
        head=None,
    )
    loss = build_loss(distill, 12, order)
    _, detail = pywt.dwt((student - teacher).numpy(), "haar", axis=1)
    weight = distill.figkd.detail_weight
    expected = F.cross_entropy(student, labels) + weight * np.mean(detail**2)
    assert loss(student, teacher, labels).item() == pytest.approx(expected.item(), rel=1e-12)


def test_applying_returns_the_changes_and_keeps_comments_and_other_lines(path):
    before, old = load_params(path).model_dump(), path.read_text().splitlines()
    changes = apply_preset("vgg13-mobilenet_v2", path)
    after, new = load_params(path).model_dump(), path.read_text().splitlines()
    assert after == effective(
        merged(yaml.safe_load("\n".join(old)), load_preset("vgg13-mobilenet_v2"))
    )
    found = {change.key: (change.before, change.after) for change in changes}
    assert found["distill.model"] == (before["distill"]["model"], "cifar_mobilenet_v2")
    assert found["distill.lr"] == (before["distill"]["lr"], 0.01)
    assert found["prepare.fractions.train"] == (before["prepare"]["fractions"]["train"], 0.81)
    assert all(old != new for old, new in found.values())
    # The preset adds keys that the file lacks, and changes values; all else stays.
    lost = [line for line in old if line not in new]
    assert len(lost) <= len(changes)
    for line in lost:
        comment = line.partition("#")[2]
        assert sum(comment == other.partition("#")[2] for other in new) >= 1


def test_a_value_that_is_in_force_already_is_not_written(path):
    changes = apply_preset("vgg13-vgg8", path)
    assert len(path.read_text().splitlines()) <= len(FILE.read_text().splitlines()) + len(changes)
    assert "near_duplicate_distance" not in path.read_text()


def test_applying_twice_changes_nothing(path):
    apply_preset("resnet56-resnet20", path)
    content = path.read_bytes()
    assert apply_preset("resnet56-resnet20", path) == []
    assert path.read_bytes() == content


def test_a_file_that_names_only_some_parameters_gets_those_that_it_lacks(path):
    raw = yaml.safe_load(path.read_text())
    del raw["run"], raw["qat"], raw["prepare"]["split"]
    path.write_text(yaml.safe_dump(raw))
    expected = effective(merged(raw, load_preset("vgg13-vgg8")))
    apply_preset("vgg13-vgg8", path)
    assert load_params(path).model_dump() == expected


def test_windows_line_endings_are_preserved(path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    apply_preset("vgg13-vgg8", path)
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n") > 50


def test_an_unknown_preset_is_refused_with_close_names(path):
    content = path.read_bytes()
    with pytest.raises(ParameterError, match=r"'resnet56-resnet2'.*resnet56-resnet20"):
        apply_preset("resnet56-resnet2", path)
    assert path.read_bytes() == content


def test_a_file_that_would_not_be_valid_with_it_stays_as_it_was(path):
    # Valid before; but the preset's batches of 64 images cannot be split into 100 parts.
    set_values(path, "distill", batch_size=200, accumulate=100)
    content = path.read_bytes()
    load_params(path)
    with pytest.raises(ParameterError, match=r"preset 'vgg13-vgg8': .*accumulate"):
        apply_preset("vgg13-vgg8", path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["params.yaml"]


def test_a_file_whose_sections_share_values_is_refused_rather_than_changed_elsewhere(path):
    text = path.read_text().replace("bundle:", "finetune: { lr: &rate 0.01 }\n\nbundle:")
    text = text.replace("  max_drop: 1.0", "  max_drop: *rate")
    path.write_text(text)
    load_params(path)
    content = path.read_bytes()
    with pytest.raises(ParameterError):
        apply_preset("vgg13-vgg8", path)
    assert path.read_bytes() == content

from pathlib import Path

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
import yaml

from pipeline import losses
from pipeline.errors import ParameterError
from pipeline.losses.figkd.class_order import order_classes
from pipeline.models.zoo import full_name
from pipeline.params import Params, load_params
from pipeline.params.editing import merged
from pipeline.presets import apply_preset, load_preset, method_names, pair_names

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "params.yaml"
FIVE_TIMES_SLOWER = {"cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2"}


@pytest.fixture
def path(tmp_path):
    copy = tmp_path / "params.yaml"
    copy.write_bytes(FILE.read_bytes())
    return copy


@pytest.mark.parametrize("name", pair_names())
def test_a_preset_is_the_recipe_of_the_literature_and_goes_with_the_projects_parameters(name):
    preset = load_preset(name)
    params = Params.model_validate(merged(load_params(FILE).model_dump(), preset))
    teacher, student = name.split("-")
    assert params.finetune.model == full_name(f"cifar_{teacher}")
    assert params.distill.model == full_name(f"cifar_{student}")
    for recipe in (params.finetune, params.distill):
        assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (240, 64, 5e-4)
        assert (recipe.optimizer, recipe.momentum, recipe.warmup) == ("sgd", 0.9, 0.0)
        assert recipe.schedule == "multi_step"
        assert [240 * share for share in recipe.milestones] == [150, 180, 210]
        assert recipe.gamma == 0.1
        assert recipe.lr == (0.01 if recipe.model in FIVE_TIMES_SLOWER else 0.05)
    assert (params.prepare.source, params.prepare.image_size) == ("cifar100", 32)
    assert params.finetune.pretrained == "none"


def test_the_pairs_of_the_literature_are_there():
    """Tables 1 and 2 of "Contrastive Representation Distillation" (ICLR 2020)."""
    one = "wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1 resnet56-resnet20 resnet110-resnet20 "
    one += "resnet110-resnet32 resnet32x4-resnet8x4 vgg13-vgg8"
    two = "vgg13-mobilenet_v2 resnet50-mobilenet_v2 resnet50-vgg8 resnet32x4-shufflenet_v1 "
    two += "resnet32x4-shufflenet_v2 wrn_40_2-shufflenet_v1"
    assert set(pair_names()) == {*one.split(), *two.split()}


def test_the_paper_is_the_plain_distance_between_details(path):
    """Whatever was there before: held to the formula, with PyWavelets' own transform."""
    path.write_text(
        path.read_text()
        .replace("redraw: false", "redraw: true")
        .replace("kind: index", "kind: random")
    )
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
    found = losses.build(distill, 12, order)(student, labels, teacher, 9.0)
    _, detail = pywt.dwt((student - teacher).numpy(), "haar", axis=1)
    expected = F.cross_entropy(student, labels) + distill.figkd.weight * np.mean(detail**2)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-12)


def test_applying_says_what_changed_and_keeps_all_else(path):
    before, old = load_params(path).model_dump(), path.read_text().splitlines()
    changes = apply_preset("vgg13-mobilenet_v2", path)
    after, new = load_params(path).model_dump(), path.read_text().splitlines()
    assert after == merged(before, load_preset("vgg13-mobilenet_v2"))
    said = {change.key: (change.before, change.after) for change in changes}
    assert said["distill.model"] == (before["distill"]["model"], "cifar_mobilenet_v2")
    assert said["distill.lr"] == (before["distill"]["lr"], 0.01)
    assert said["prepare.fractions.train"] == (before["prepare"]["fractions"]["train"], 0.81)
    assert all(old != new for old, new in said.values())
    # Line by line: what is no value of the preset is as it was, comments too.
    assert len(new) == len(old)
    assert sum(a != b for a, b in zip(old, new, strict=True)) <= len(changes)
    assert [line.partition("#")[2] for line in new] == [line.partition("#")[2] for line in old]


def test_applying_twice_changes_nothing(path):
    apply_preset("resnet56-resnet20", path)
    content = path.read_bytes()
    assert apply_preset("resnet56-resnet20", path) == []
    assert path.read_bytes() == content


def test_a_file_that_names_only_some_parameters_gets_those_that_it_lacks(path):
    raw = yaml.safe_load(path.read_text())
    del raw["views"], raw["cache_logits"], raw["distill"]["dkd"], raw["finetune"]["warmup"]
    path.write_text(yaml.safe_dump(raw))
    expected = merged(load_params(path).model_dump(), load_preset("vgg13-vgg8"))
    apply_preset("vgg13-vgg8", path)
    assert load_params(path).model_dump() == expected


def test_windows_line_ends_stay(path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    apply_preset("vgg13-vgg8", path)
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n") > 100


def test_an_unknown_preset_is_refused_with_close_names(path):
    content = path.read_bytes()
    with pytest.raises(ParameterError, match=r"'resnet56-resnet2' is no preset.*resnet56-resnet20"):
        apply_preset("resnet56-resnet2", path)
    assert path.read_bytes() == content


def test_a_file_that_would_not_be_valid_with_it_stays_as_it_was(path):
    # Valid now; but the preset's batches of 64 images have no 100 parts.
    path.write_text(
        path.read_text()
        .replace("batch_size: 32", "batch_size: 200")
        .replace("accumulate: 1 ", "accumulate: 100 ")
    )
    content = path.read_bytes()
    load_params(path)
    with pytest.raises(ParameterError, match=r"does not go with preset 'vgg13-vgg8': .*accumulate"):
        apply_preset("vgg13-vgg8", path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["params.yaml"]


def test_a_file_whose_sections_share_values_is_refused_rather_than_changed_elsewhere(path):
    text = path.read_text()
    start, end = text.index("\nviews:\n"), text.index("\nfinetune:\n")
    text = text[:start] + text[end:]
    text = text.replace("bundle:\n", "bundle:\n", 1).replace(
        "  lr: 0.01\n", "  lr: &rate 0.01\n", 1
    )
    text = text.replace("  max_drop: 1.0", "  max_drop: *rate")
    path.write_text(text)
    load_params(path)
    content = path.read_bytes()
    with pytest.raises(ParameterError):
        apply_preset("vgg13-vgg8", path)
    assert path.read_bytes() == content

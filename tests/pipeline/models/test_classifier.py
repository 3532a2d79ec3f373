import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import ArtifactError, ParameterError
from pipeline.models.classifier import (
    WEIGHTS,
    Classifier,
    Spec,
    build_classifier,
    load_classifier,
    read_head_weights,
    save_classifier,
)

CPU = torch.device("cpu")
CLASSES = ("ape", "bee", "cod")
TINY = "test_efficientnet"


@pytest.fixture
def model():
    """A small classifier with non-default batch norm statistics, as after training."""
    torch.manual_seed(0)
    built = build_classifier(TINY, CLASSES, 32)
    built.train()
    with torch.no_grad():
        for _ in range(3):
            built(torch.rand(8, 3, 32, 32))
    return built.eval()


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_saved_classifier_has_the_same_logits_after_loading(tmp_path, model, images):
    digest = save_classifier(tmp_path / "m", model, {"epochs": 3, "data": "abc"})
    torch.manual_seed(99)  # what fresh weights are drawn from must not matter
    loaded, info = load_classifier(tmp_path / "m", CPU)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-5, atol=1e-6)
    assert not loaded.training
    assert loaded.spec == model.spec
    assert (info["epochs"], info["data"], info["weights_sha256"]) == (3, "abc", digest)


def test_loading_keeps_the_random_state(tmp_path, model):
    save_classifier(tmp_path / "m", model, {})
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_classifier(tmp_path / "m", CPU)
    assert torch.equal(torch.rand(4), expected)


def test_the_same_weights_make_the_same_bytes(tmp_path, model):
    save_classifier(tmp_path / "one", model, {})
    loaded, _ = load_classifier(tmp_path / "one", CPU)
    save_classifier(tmp_path / "two", loaded, {})
    assert (tmp_path / "one" / WEIGHTS).read_bytes() == (tmp_path / "two" / WEIGHTS).read_bytes()


def test_the_weights_are_a_plain_safetensors_file(tmp_path, model, images):
    save_classifier(tmp_path / "m", model, {})
    state = load_file(tmp_path / "m" / WEIGHTS)
    bare = timm.create_model(TINY, num_classes=3).eval()
    bare.load_state_dict({name.removeprefix("backbone."): t for name, t in state.items()})
    info = json.loads((tmp_path / "m" / "model.json").read_text())
    mean, std = (torch.tensor(info[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        torch.testing.assert_close(bare((images - mean) / std), model(images))


@pytest.mark.parametrize("architecture", [TINY, "resnet18", "tf_efficientnet_lite0"])
def test_images_are_normalized_as_the_architecture_expects(architecture):
    built = build_classifier(architecture, CLASSES, 32).eval()
    wanted = timm.data.resolve_model_data_config(timm.create_model(architecture))
    assert (built.spec.mean, built.spec.std) == (tuple(wanted["mean"]), tuple(wanted["std"]))
    mean, std = (torch.tensor(wanted[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert built(images).shape == (2, 3)
        torch.testing.assert_close(built(images), built.backbone((images - mean) / std))


def test_saving_replaces_the_whole_folder(tmp_path, model):
    save_classifier(tmp_path / "m", model, {})
    (tmp_path / "m" / "stale").write_text("")
    save_classifier(tmp_path / "m", model, {})
    assert {path.name for path in (tmp_path / "m").iterdir()} == {WEIGHTS, "model.json"}
    with pytest.raises(TypeError):
        save_classifier(tmp_path / "m", model, {"record": object()})
    load_classifier(tmp_path / "m", CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_truncated_weights_are_refused(tmp_path, model, keep):
    save_classifier(tmp_path / "m", model, {})
    path = tmp_path / "m" / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match="truncated") as caught:
        load_classifier(tmp_path / "m", CPU)
    assert caught.value.path == path


def test_weights_of_another_model_of_the_same_shape_are_refused(tmp_path, model):
    save_classifier(tmp_path / "m", model, {})
    save_classifier(tmp_path / "other", build_classifier(TINY, CLASSES, 32), {})
    (tmp_path / "other" / WEIGHTS).replace(tmp_path / "m" / WEIGHTS)
    with pytest.raises(ArtifactError, match=r"does not match model\.json"):
        load_classifier(tmp_path / "m", CPU)


@pytest.mark.parametrize("file", [WEIGHTS, "model.json"])
def test_a_missing_file_is_refused_by_name(tmp_path, model, file):
    save_classifier(tmp_path / "m", model, {})
    (tmp_path / "m" / file).unlink()
    with pytest.raises(ArtifactError, match="is missing") as caught:
        load_classifier(tmp_path / "m", CPU)
    assert caught.value.path == tmp_path / "m" / file


@pytest.mark.parametrize("text", ['{"format": 1, "arch', "{}", '{"format": 99}'])
def test_a_description_that_is_truncated_or_of_another_format_is_refused(tmp_path, model, text):
    save_classifier(tmp_path / "m", model, {})
    (tmp_path / "m" / "model.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"truncated|has format"):
        load_classifier(tmp_path / "m", CPU)


@pytest.mark.parametrize(
    ("name", "near"),
    [("mobilenetv2_03", "mobilenetv2_035"), ("resnet19", ""), ("resnet18.no_such_tag", "")],
)
def test_an_unknown_model_is_refused_with_names_that_exist(name, near):
    with pytest.raises(ParameterError, match=f"model '{name}': is not a model of timm") as caught:
        build_classifier(name, CLASSES, 32)
    assert near in str(caught.value)


@pytest.mark.parametrize("name", ["", "[", "*", "../x", "hf-hub:timm/resnet18", "resnet18."])
def test_invalid_names_are_refused_without_network_access(name):
    with pytest.raises(ParameterError, match="is not a model of timm"):
        build_classifier(name, CLASSES, 32)


def test_a_name_with_the_tag_of_its_weights_is_known():
    assert build_classifier("resnet18.a1_in1k", CLASSES, 32).spec.classes == CLASSES


def test_head_weights_are_those_of_the_logits(tmp_path):
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", CLASSES, 32).eval()
    save_classifier(tmp_path / "teacher", model, {})
    weights = read_head_weights(tmp_path / "teacher")
    assert weights.dtype == np.float32
    assert len(weights) == len(CLASSES)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        backbone, normalized = model.backbone, (images - model.mean) / model.std
        features = backbone.forward_head(backbone.forward_features(normalized), pre_logits=True)
        expected = model(images) - backbone.get_classifier().bias
    np.testing.assert_allclose(features.numpy() @ weights.T, expected.numpy(), atol=1e-5)


def test_head_weights_of_a_distilled_network_are_those_of_both_heads():
    """Its logits are the mean of two linear layers, each with features of its own."""
    torch.manual_seed(0)
    model = build_classifier("deit_tiny_distilled_patch16_224", CLASSES, 32).eval()
    features = []
    for head in (model.backbone.head, model.backbone.head_dist):
        head.register_forward_pre_hook(lambda layer, inputs: features.append(inputs[0]))
        nn.init.zeros_(head.bias)
    with torch.inference_mode():
        logits = model(torch.rand(2, 3, 32, 32))
    expected = torch.cat(features, dim=1).numpy() @ model.head_weights().T / 2
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-6)


class Backbone(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def get_classifier(self):
        return self.layer


@pytest.mark.parametrize(
    ("backbone", "found"),
    [
        (Backbone(nn.Identity()), "Identity"),
        (Backbone(nn.Conv2d(4, 3, 1)), "Conv2d"),
        (Backbone((nn.Linear(4, 3), nn.Conv2d(4, 3, 1))), "Linear and Conv2d"),
        (nn.Flatten(), "none"),
    ],
    ids=["none", "convolution", "one of two layers", "no timm model"],
)
def test_a_network_without_a_linear_classifier_layer_is_refused(backbone, found):
    model = Classifier(backbone, Spec("odd", CLASSES, 32, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ParameterError, match=f"'odd'.*no linear classifier layer.*{found}.*logits"):
        model.head_weights()

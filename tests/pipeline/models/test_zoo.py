import copy
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.models.pretrained import init_classifier, load_pretrained
from pipeline.models.zoo import count_parameters, create_network, full_name
from pipeline.params import Distill, Network

CPU = torch.device("cpu")
CLASSES = ("ape", "bee", "cod")
SMALL = "torchvision/shufflenet_v2_x0_5"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("resnet18", "resnet18"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("torchvision/resnet18", "torchvision/resnet18"),
        ("mobilenet_v3_small", "torchvision/mobilenet_v3_small"),
        ("cifar_resnet20", "cifar_resnet20"),
    ],
)
def test_timm_takes_precedence_over_torchvision(name, full):
    assert full_name(name) == full


def test_no_other_library_has_the_names_of_finch():
    others = {*timm.list_models(), *torchvision.models.list_models()}
    assert not [name for name in others if name.startswith("cifar_")]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cifar_resnet21", "cifar_resnet20"),
        ("torchvision/mobilenet_v3_smal", "torchvision/mobilenet_v3_small"),
        ("mobilenetv2_03", "mobilenetv2_035"),
        ("timm/resnet18.a1_in1k", "close names: resnet18.a1_in1k"),
        ("hf-hub:timm/resnet18", "close names: resnet18"),
        ("hf_hub:timm/resnet18x", "close names: resnet18"),
    ],
)
def test_an_unknown_name_is_refused_with_close_names(name, near):
    with pytest.raises(ParameterError, match="is not a model of timm, torchvision") as caught:
        full_name(name)
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "name", ["torchvision/../x", "torchvision/", "torchvision/fcn_resnet50", "torchvision/r3d_18"]
)
def test_networks_that_do_not_classify_images_are_refused(name):
    with pytest.raises(ParameterError, match="is not a model"):
        full_name(name)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 32),
        ("densenet121", 32),
        ("alexnet", 64),
        ("vgg11_bn", 32),
        ("mobilenet_v3_small", 32),
        ("efficientnet_b0", 32),
        ("regnet_y_400mf", 32),
        ("mnasnet0_5", 32),
        ("convnext_tiny", 32),
        ("googlenet", 32),
        ("inception_v3", 96),
        ("swin_t", 32),
        ("vit_b_32", 64),
    ],
)
def test_a_torchvision_network_has_logits_of_all_classes_and_its_head_is_found(name, size):
    # Shapes only, save where the network computes its widths with tensors.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = create_network(f"torchvision/{name}", 3, size)
        head = model.get_classifier()
        assert isinstance(head, nn.Linear)
        assert head.out_features == 3
        assert head is model.get_submodule(model.pretrained_cfg["classifier"])
        for network in (model.train(), model.eval()):
            assert network(torch.zeros(2, 3, size, size)).shape == (2, 3)
        assert copy.deepcopy(model).get_classifier() is not head


def test_a_network_of_torchvision_can_be_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    model = build_classifier("shufflenet_v2_x0_5", CLASSES, 32).eval()
    assert model.spec.architecture == SMALL
    save_classifier(tmp_path / "m", model, {})
    loaded, info = load_classifier(tmp_path / "m", CPU)
    assert info["architecture"] == SMALL
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-4, atol=1e-5)


def test_inception_networks_use_the_normalization_of_their_weights():
    """torchvision converts inputs normalized for ImageNet to a mean and std of 0.5."""
    with torch.device("meta"):
        config = create_network("torchvision/inception_v3", 3, 96).pretrained_cfg
    theirs = torchvision.models.Inception3(transform_input=True, init_weights=False)
    images = torch.rand(1, 3, 4, 4)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    expected = theirs._transform_input((images - mean) / std)
    ours = (images - config["mean"][0]) / config["std"][0]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def hub(monkeypatch):
    """Replaces torchvision's weights by some of the same shape, and records the download."""
    torch.manual_seed(1)
    state = torchvision.models.get_model("shufflenet_v2_x0_5").state_dict()
    requests = []

    def download(self, **options):
        requests.append((self.name, options))
        return state

    kind = torchvision.models.ShuffleNet_V2_X0_5_Weights
    monkeypatch.setattr(kind, "get_state_dict", download)
    return state, requests


@pytest.mark.parametrize("origin", ["library", "timm"])
def test_torchvision_weights_are_loaded_except_for_a_head_of_other_classes(hub, origin):
    state, requests = hub
    model = build_classifier(SMALL, CLASSES, 32)
    fresh = model.backbone.fc.weight.clone()
    load_pretrained(model, Network(model=SMALL, pretrained=origin))
    for name, tensor in model.backbone.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, state[name]), name
    assert torch.equal(model.backbone.fc.weight, fresh)
    ((name, options),) = requests
    assert name == "IMAGENET1K_V1"
    assert options["weights_only"]
    assert options["check_hash"]


def test_weights_that_torchvision_downloaded_before_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(1)
    state = torchvision.models.get_model("shufflenet_v2_x0_5").state_dict()
    file = Path(torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url).name
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub/checkpoints" / file)
    started = init_classifier(Network(model=SMALL, pretrained="library"), CLASSES, 32)
    assert started.untrained == CLASSES
    for name, tensor in started.model.backbone.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, state[name]), name


def test_weights_that_timm_downloaded_before_are_read_for_another_image_size(tmp_path, monkeypatch):
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", True)
    torch.manual_seed(1)
    state = timm.create_model("test_vit").state_dict()  # for 1,000 classes, and images of 160 px
    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    commit = "0" * 40
    for part in ("refs", f"snapshots/{commit}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    save_file(state, folder / "snapshots" / commit / "model.safetensors")
    started = init_classifier(Network(model="test_vit", pretrained="library"), CLASSES, 64)
    assert started.untrained == CLASSES
    changed = ("head.", "pos_embed")
    for name, tensor in started.model.backbone.state_dict().items():
        assert name.startswith(changed) or torch.equal(tensor, state[name]), name
    with torch.inference_mode():
        assert started.model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_torchvision_without_internet_access_is_refused_with_the_alternatives(monkeypatch):
    def offline(self, **options):
        raise ConnectionError("no route\nto host")

    kind = torchvision.models.ShuffleNet_V2_X0_5_Weights
    monkeypatch.setattr(kind, "get_state_dict", offline)
    with pytest.raises(ParameterError, match=r"from torchvision \(no route to host\)"):
        load_pretrained(
            build_classifier(SMALL, CLASSES, 32), Network(model=SMALL, pretrained="library")
        )


def test_a_student_of_torchvision_starts_from_pretrained_weights(hub):
    state, _ = hub
    recipe = {"epochs": 1, "batch_size": 1, "lr": 0.1, "weight_decay": 0.0}
    student = Distill(**recipe, model=SMALL, pretrained="library")
    model = init_classifier(student, CLASSES, 32).model
    for name, tensor in model.backbone.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, state[name]), name


def test_finchs_own_networks_have_no_library_weights():
    with pytest.raises(ParameterError, match=r"in no library.*file or none"):
        init_classifier(Network(model="cifar_resnet8", pretrained="library"), CLASSES, 32)


@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_224"])
def test_a_network_with_a_fixed_input_size_is_built_for_the_image_size(name):
    model = create_network(name, 3, 64).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_an_unsupported_image_size_is_refused():
    with pytest.raises(ParameterError, match="cannot be built for images of 30 px"):
        create_network("torchvision/vit_b_32", 3, 30)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("torchvision/resnet18", torchvision.models.ResNet18_Weights.DEFAULT),
        ("mobilenet_v3_small", torchvision.models.MobileNet_V3_Small_Weights.DEFAULT),
        ("resnet18", torchvision.models.ResNet18_Weights.DEFAULT),
    ],
)
def test_parameters_are_counted_as_published(name, weights):
    assert count_parameters(name, 1000, 224) == weights.meta["num_params"]

"""The form for inference of every family of networks in timm that has one."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm.models
import torch
from torch import nn

from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import check_parity, normalize_images
from pipeline.models.classifier import Classifier, Spec, build_classifier
from pipeline.models.inference import measure_cost
from pipeline.models.reparameterize import can_reparameterize, inference_form, reparameterize
from pipeline.scout.untrained import make_realistic

CLASSES = tuple("abcde")
SIZE = 64
# A small network of each file of timm that defines a reparameterization.
FAMILIES = {
    "byobnet": ("mobileone_s1", "repvgg_a0"),
    "efficientvim": ("efficientvim_m1",),
    "efficientvit_msra": ("efficientvit_m0",),
    "fastvit": ("fastvit_t8", "fastvit_sa12"),
    "ghostnet": ("ghostnetv3_050",),
    "iformer": ("iformer_t",),
    "lcnetv2": ("lcnetv2_small",),
    "levit": ("levit_128s", "levit_conv_128s"),
    "nextvit": ("nextvit_small",),
    "repghost": ("repghostnet_050",),
    "repvit": ("repvit_m1",),
    "shvit": ("shvit_s1",),
    "tiny_vit": ("tiny_vit_5m_224",),
}
SLOW = {"nextvit_small", "tiny_vit_5m_224", "fastvit_sa12", "levit_128s", "repvgg_a0", "shvit_s1"}


def used(name, size=SIZE):
    """A network whose batch norms have the statistics of a few batches."""
    torch.manual_seed(0)
    model = build_classifier(name, CLASSES, size)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, 3, size, size))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model.eval()


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_family_of_timm_is_tested():
    folder = Path(timm.models.__file__).parent
    defines = re.compile(r"def (fuse|reparameterize|switch_to_deploy)\(self")
    found = {path.stem for path in folder.glob("[!_]*.py") if defines.search(path.read_text())}
    assert found == set(FAMILIES)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for names in FAMILIES.values()
        for name in names
    ],
)
def test_the_logits_of_both_forms_are_equal(name):
    model = used(name)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    form = inference_form(model.backbone, torch.randn(4, 3, SIZE, SIZE))
    assert form.problem is None
    assert 0 < form.difference < 1e-5
    assert parameters(form.network) < parameters(model)
    assert all(parameter.requires_grad for parameter in form.network.parameters())
    assert not form.network.training
    # The training form is not changed: it is stored, and can be trained further.
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_other_networks_stay_as_they_are():
    model = used("test_efficientnet")
    form = inference_form(model.backbone, torch.randn(2, 3, SIZE, SIZE))
    assert (form.difference, form.problem) == (None, None)
    assert form.network.state_dict().keys() == model.backbone.state_dict().keys()


def test_cost_is_that_of_the_form_for_inference():
    model = used("mobileone_s0", 32)
    whole = sum(parameter.numel() for parameter in model.parameters())
    cost = measure_cost(model)
    assert cost.parameters == parameters(reparameterize(model)) < whole / 4
    converted = Classifier(reparameterize(model.backbone), model.spec)
    assert measure_cost(converted) == cost


class Own(nn.Module):
    """A network with its own method, which may be wrong."""

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(12, 5), nn.Linear(12, 5)
        self.fuse_features = nn.Identity()
        self.error = error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = images.flatten(1)
        if self.right is None:
            return self.left(features)
        return self.left(features) + self.right(features)

    def reparameterize(self) -> None:
        if self.error < 0:
            raise KeyError("left")
        self.left.weight.data = self.left.weight + self.right.weight
        self.left.bias.data = self.left.bias + self.right.bias + self.error
        self.right = None


PIXELS = torch.linspace(-1, 1, 36).view(3, 3, 2, 2)


def test_the_method_of_the_network_itself_is_called():
    form = inference_form(Own(), PIXELS)
    assert form.difference < 1e-6
    assert parameters(form.network) == 12 * 5 + 5


def test_rounding_that_a_deep_network_amplifies_is_no_error():
    torch.manual_seed(0)
    model = build_classifier("mobileone_s0", CLASSES, 32)
    pixels = torch.rand(8, 3, 32, 32)
    make_realistic(model.backbone, pixels)
    form = inference_form(model.backbone, pixels)
    assert form.problem is None
    assert form.difference > 1e-5


@pytest.mark.parametrize("name", ["levit_128s", "efficientvit_m0"])
def test_a_network_that_was_used_before_can_be_converted(name):
    model = build_classifier(name, CLASSES, SIZE).eval()
    pixels = torch.rand(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        model(pixels)  # it caches biases of its attention
    assert inference_form(model.backbone, pixels).difference < 1e-5


@pytest.mark.parametrize("error", [0.5, float("nan"), -1.0])
def test_a_wrong_conversion_keeps_the_training_form_and_says_so(error):
    network = Own(error)
    form = inference_form(network, PIXELS)
    assert form.difference is None
    assert "reparameterization" in form.problem
    assert torch.equal(form.network(PIXELS), network(PIXELS))


class Submodule(nn.Module):
    """A network with a layer of that name, which is no reparameterization."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.fuse = nn.Linear(12, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features.fuse(images.flatten(1))


def test_a_layer_called_fuse_is_not_a_method():
    assert not can_reparameterize(Submodule())
    assert inference_form(Submodule(), PIXELS).problem is None


@pytest.mark.slow
def test_the_exported_file_has_one_branch_and_agrees_with_pytorch(tmp_path):
    model = used("mobileone_s0", 32)
    spec = Spec("mobileone_s0", CLASSES, 32, model.spec.mean, model.spec.std)
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    form = inference_form(model.backbone, normalize_images(images, spec))
    sizes = {}
    for name, network in {"trained": model.backbone, "form": form.network}.items():
        path = tmp_path / f"{name}.onnx"
        export_onnx(network, spec, path, batch=1, opset=18)
        sizes[name] = path.stat().st_size
    check_parity(form.network, spec, tmp_path / "form.onnx", images, tolerance=1e-4)
    assert sizes["form"] < 0.3 * sizes["trained"]
    convolutions = [n for n in onnx.load(tmp_path / "form.onnx").graph.node if n.op_type == "Conv"]
    layers = [m for m in form.network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == len(layers)

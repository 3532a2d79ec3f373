"""Networks of gray images, against timm's ``in_chans=1`` and against images with equal channels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import ParameterError
from pipeline.export.onnx_export import export_onnx
from pipeline.export.onnx_metadata import MadeFrom, describe, read_image_size
from pipeline.export.parity import check_parity
from pipeline.models.classifier import (
    WEIGHTS,
    build_classifier,
    gray_classifier,
    load_classifier,
    save_classifier,
)
from pipeline.models.gray_input import take_gray
from pipeline.models.network_check import check_network
from pipeline.models.pretrained import init_classifier
from pipeline.models.zoo import create_network
from pipeline.params import Network

CLASSES = ("a", "b", "c")
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "test_vit", "mobileone_s0"])
def test_a_network_with_pretrained_weights_is_that_of_timm(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **size_of(name)).eval()
    theirs = timm.create_model(name, num_classes=3, in_chans=1, **size_of(name)).eval()
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    weights = {
        key: tensor if tensor.shape == shapes[key] else tensor.sum(1, keepdim=True)
        for key, tensor in network.state_dict().items()
    }
    theirs.load_state_dict(weights)
    take_gray(network, name, 32)
    gray = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(gray), theirs(gray), rtol=1e-4, atol=1e-5)


def size_of(name: str) -> dict[str, int]:
    return {"img_size": 32} if name == "test_vit" else {}


@pytest.mark.parametrize("name", ["torchvision/shufflenet_v2_x0_5", "cifar_resnet8"])
def test_logits_are_those_of_an_image_with_equal_channels(name: str) -> None:
    torch.manual_seed(0)
    network = create_network(name, 3, 32)
    gray = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        expected = network.eval()(gray.repeat(1, 3, 1, 1))
        take_gray(network.train(), name, 32)
        assert network.training
        torch.testing.assert_close(network.eval()(gray), expected, rtol=1e-4, atol=1e-5)


class Branches(nn.Module):
    """The image goes around the convolution, too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        both = self.convolution(images) + images * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
        return both.mean((2, 3)) + images.amax((2, 3))[:, :1] * len(images[0])


@pytest.mark.parametrize(
    "network", [Branches(), nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))], ids=["two", "none"]
)
def test_a_network_whose_other_layers_see_the_image_is_refused(network: nn.Module) -> None:
    with pytest.raises(ParameterError, match=r"'odd': cannot take images of one channel.*channels"):
        take_gray(network, "odd", 8)


def test_a_network_that_takes_no_gray_images_is_refused_before_training() -> None:
    # It standardizes the weights of its convolutions over the input channels.
    name = "resnetv2_50x1_bit"
    check_network("distill", Network(model=name), 32)
    with pytest.raises(ParameterError, match=f"distill: model '{name}': cannot take images of one"):
        check_network("distill", Network(model=name), 32, channels=1)


def test_pretrained_weights_mean_and_deviation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = create_network("test_efficientnet", 3, 32).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    network = Network(
        model="test_efficientnet",
        pretrained="file",
        weights=str(tmp_path / "w.safetensors"),
        head="keep",
        mean=[0.3, 0.5, 0.7],
        std=[0.1, 0.2, 0.3],
    )
    model = init_classifier(network, CLASSES, 32, 1).model
    assert (model.spec.channels, model.spec.mean, model.spec.std) == (
        1,
        pytest.approx((0.5,)),
        pytest.approx((0.2,)),
    )
    stem = model.backbone.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, weights["conv_stem.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_a_network_of_gray_images(tmp_path: Path, prefix: str, channels: int) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("test_efficientnet", num_classes=3, in_chans=1).eval()
    state = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": state, "mean": [0.4], "std": [0.2]}, tmp_path / "w.pt")
    network = Network(
        model="test_efficientnet", pretrained="file", weights=str(tmp_path / "w.pt"), head="keep"
    )
    started = init_classifier(network, CLASSES, 32, channels)
    assert any(f"{prefix}conv_stem.weight is for gray images" in each for each in started.remarks)
    images = torch.rand(4, channels, 32, 32)
    with torch.no_grad():
        expected = theirs((images.mean(1, keepdim=True) - 0.4) / 0.2)
        found = started.model.eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_network_of_gray_images_is_saved_and_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = gray_classifier(build_classifier("test_efficientnet", CLASSES, 32)).eval()
    save_classifier(tmp_path / "student", model, {})
    loaded, _ = load_classifier(tmp_path / "student", CPU)
    assert loaded.spec == model.spec
    weights = str(tmp_path / "student" / WEIGHTS)
    network = Network(model="test_efficientnet", pretrained="file", weights=weights, head="keep")
    again = init_classifier(network, CLASSES, 32, 1).model
    assert again.spec.mean == pytest.approx(model.spec.mean)
    images = np.random.default_rng(0).integers(0, 256, (14, 32, 32, 1), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        assert torch.equal(loaded(pixels), model(pixels))
    path, spec = tmp_path / "student.onnx", loaded.spec
    metadata = describe(spec, "pad", MadeFrom("5" * 64, "d" * 64))
    export_onnx(loaded.backbone, spec, path, batch="dynamic", opset=18, metadata=metadata)
    check_parity(loaded.backbone, spec, path, images, tolerance=1e-4)
    file = onnx.load(path)
    shape = file.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_value for axis in shape[1:]] == [32, 32, 1]
    described = json.loads({e.key: e.value for e in file.metadata_props}["finch.input"])
    assert (described["color"], described["fit"]) == ("gray", "pad")
    assert read_image_size(path) == 32

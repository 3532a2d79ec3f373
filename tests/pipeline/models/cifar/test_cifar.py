"""The networks beside what the literature publishes, and beside other libraries' code."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchdistill.models.classification.resnet import ResNet4Cifar
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet
from torchvision.models.shufflenetv2 import InvertedResidual
from torchvision.models.vgg import make_layers

from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import check_parity
from pipeline.models.cifar import NETWORKS
from pipeline.models.cifar.mobile import ChannelShuffle, UnitV1
from pipeline.models.cifar.resnet import PreActivation
from pipeline.models.classifier import (
    build_classifier,
    load_classifier,
    read_head_weights,
    save_classifier,
)
from pipeline.models.zoo import count_parameters

CLASSES = tuple(f"class-{number}" for number in range(5))
SMALLEST = ("cifar_resnet8", "cifar_wrn_16_1", "cifar_shufflenet_v1", "cifar_mobilenet_v2")

# Millions for 100 classes, as papers that use the networks of "Contrastive Representation
# Distillation" (ICLR 2020; github.com/HobbitLong/RepDistiller) print them.
PUBLISHED = {
    "resnet8": "0.08",
    "resnet14": "0.18",
    "resnet20": "0.28",
    "resnet32": "0.47",
    "resnet56": "0.86",
    "resnet110": "1.74",
    "resnet8x4": "1.23",
    "resnet32x4": "7.43",
    "wrn_16_2": "0.70",
    "wrn_40_1": "0.57",
    "wrn_40_2": "2.26",
    "vgg8": "3.97",
    "vgg13": "9.46",
    "mobilenet_v2": "0.81",
    "shufflenet_v1": "0.95",
    "shufflenet_v2": "1.36",
    "resnet50": "23.71",  # 23.7 in the papers
}


def counted(name, classes=100):
    return count_parameters(f"cifar_{name}", classes, 32)


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_parameters_are_as_many_as_published(name, millions):
    assert f"{counted(name) / 1e6:.2f}" == millions


def residual_count(stem, widths, blocks, classes):
    """A layer of k x k from a to b channels has a·b·k² weights, its norm 2b more."""
    count = 3 * stem * 9 + 2 * stem
    inside = stem
    for width in widths:
        count += inside * width * 9 + width * width * 9 + 4 * width
        if inside != width:
            count += inside * width + 2 * width
        count += (blocks - 1) * (2 * width * width * 9 + 4 * width)
        inside = width
    return count + inside * classes + classes


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
def test_residual_networks_have_just_the_parameters_that_their_paper_describes(depth, classes):
    blocks = (depth - 2) // 6
    expected = residual_count(16, (16, 32, 64), blocks, classes)
    assert counted(f"resnet{depth}", classes) == expected
    if depth in (8, 32):
        expected = residual_count(32, (64, 128, 256), blocks, classes)
        assert counted(f"resnet{depth}x4", classes) == expected


@pytest.mark.parametrize(("depth", "widening"), [(16, 1), (16, 2), (40, 1), (40, 2)])
def test_wide_networks_have_just_the_parameters_that_their_paper_describes(depth, widening):
    """Norms come before the convolutions; shortcuts that change the width have none."""
    count, inside = 3 * 16 * 9, 16
    for width in (16 * widening, 32 * widening, 64 * widening):
        for _ in range((depth - 4) // 6):
            count += 2 * inside + inside * width * 9 + 2 * width + width * width * 9
            count += inside * width if inside != width else 0
            inside = width
    count += 2 * inside + inside * 100 + 100
    assert counted(f"wrn_{depth}_{widening}") == count
    if (depth, widening) == (40, 2):
        assert count == 2_255_156  # Zagoruyko's own code


def test_shufflenet_v2_is_torchvisions_with_a_stem_of_one_pixel_and_fewer_classes():
    published = torchvision.models.ShuffleNet_V2_X1_0_Weights.DEFAULT.meta["num_params"]
    assert counted("shufflenet_v2") == published - 3 * 24 * (9 - 1) - (1000 - 100) * (1024 + 1)


def test_mobilenet_is_torchvisions_at_half_width_with_an_expansion_in_the_first_block():
    reference = torchvision.models.MobileNetV2(
        num_classes=100,
        width_mult=0.5,
        round_nearest=1,
        inverted_residual_setting=[
            [1, 16, 1, 1],
            [6, 24, 2, 1],
            [6, 32, 3, 2],
            [6, 64, 4, 2],
            [6, 96, 3, 1],
            [6, 160, 3, 2],
            [6, 320, 1, 1],
        ],
    )
    expansion = 16 * 16 + 2 * 16
    count = sum(parameter.numel() for parameter in reference.parameters())
    assert counted("mobilenet_v2") == count + expansion


def with_statistics(model):
    """In evaluation mode, with norms that do something of their own."""
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


def assert_same_function(ours, reference, size=32, channels=3):
    """With the same tensors, given in the order in which both name them."""
    with_statistics(reference)
    theirs = [t for t in reference.state_dict().values() if t.ndim]
    own = ours.state_dict()
    names = [name for name, tensor in own.items() if tensor.ndim]
    assert [own[name].shape for name in names] == [tensor.shape for tensor in theirs]
    ours.load_state_dict(dict(zip(names, theirs, strict=True)), strict=False)
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = reference(images)
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("depth", [8, 20])
def test_residual_networks_compute_what_torchdistills_compute(depth):
    reference = ResNet4Cifar(BasicBlock, [(depth - 2) // 6] * 3, num_classes=7)
    assert_same_function(NETWORKS[f"cifar_resnet{depth}"](7), reference)


def test_resnet50_computes_what_torchvisions_does_with_a_small_stem():
    reference = TorchvisionResNet(Bottleneck, [3, 4, 6, 3], num_classes=7)
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    assert_same_function(NETWORKS["cifar_resnet50"](7), reference, size=8)


@pytest.mark.parametrize("depth", [8, 13])
def test_vgg_computes_what_torchvisions_layers_compute(depth):
    plan = []
    for width in (64, 128, 256):
        plan += [width] * (depth // 6) + ["M"]
    reference = nn.Sequential(
        make_layers(plan + [512] * 2 * (depth // 6), batch_norm=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 7),
    )
    assert_same_function(NETWORKS[f"cifar_vgg{depth}"](7), reference)


def test_the_units_of_shufflenet_v2_compute_what_torchvisions_compute():
    features = NETWORKS["cifar_shufflenet_v2"](7).features
    assert_same_function(
        nn.Sequential(*features[1:5]),
        nn.Sequential(
            InvertedResidual(24, 116, 2), *(InvertedResidual(116, 116, 1) for _ in "123")
        ),
        size=8,
        channels=24,
    )


def test_a_shuffle_deals_the_groups_round():
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert ChannelShuffle(2)(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    torch.testing.assert_close(ChannelShuffle(3)(channels), F.channel_shuffle(channels, 3))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_grouped_unit_is_that_of_the_shufflenet_paper(stride):
    unit = with_statistics(UnitV1(240, 240 if stride == 1 else 480, stride, groups=3))
    images = torch.randn(2, 240, 6, 6)

    def convolved(x, layer, **options):
        kernel, norm = layer[0].weight, layer[1]
        x = F.conv2d(x, kernel, **options)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    with torch.inference_mode():
        x = F.relu(convolved(images, unit.branch[0], groups=3))
        x = F.channel_shuffle(x, 3)
        x = F.relu(convolved(x, unit.branch[2], groups=60, stride=stride, padding=1))
        x = convolved(x, unit.branch[3], groups=3)
        if stride == 1:
            expected = F.relu(x + images)
        else:
            expected = F.relu(torch.cat([x, F.avg_pool2d(images, 3, 2, 1)], dim=1))
        torch.testing.assert_close(unit(images), expected)


@pytest.mark.parametrize(("outside", "stride"), [(8, 1), (12, 2)])
def test_the_wide_unit_is_that_of_the_wide_residual_networks(outside, stride):
    """A shortcut of another shape starts behind norm and ReLU, as in the authors' own code."""
    unit = with_statistics(PreActivation(8, outside, stride))
    images = torch.randn(2, 8, 6, 6)
    norms = [layer for layer in unit.modules() if isinstance(layer, nn.BatchNorm2d)]
    kernels = [layer.weight for layer in unit.modules() if isinstance(layer, nn.Conv2d)]

    def activated(x, norm):
        mean, var = norm.running_mean, norm.running_var
        return F.relu(F.batch_norm(x, mean, var, norm.weight, norm.bias))

    with torch.inference_mode():
        first = activated(images, norms[0])
        second = activated(F.conv2d(first, kernels[0], stride=stride, padding=1), norms[1])
        past = images if stride == 1 else F.conv2d(first, kernels[2], stride=stride)
        torch.testing.assert_close(unit(images), F.conv2d(second, kernels[1], padding=1) + past)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_32_and_of_96_px_become_logits_and_the_head_makes_them(name):
    torch.manual_seed(0)
    model = build_classifier(name, CLASSES, 32).eval()
    seen = []
    model.backbone.get_classifier().register_forward_hook(lambda *call: seen.append(call[1][0]))
    weights = torch.from_numpy(model.head_weights())
    with torch.inference_mode():
        for size in (32, 96):
            logits = model(torch.rand(1, 3, size, size))
            assert logits.shape == (1, len(CLASSES))
            bias = model.backbone.get_classifier().bias
            torch.testing.assert_close(logits, seen.pop() @ weights.T + bias)


@pytest.mark.parametrize("name", [n for n in NETWORKS if "vgg" in n or "mobile" in n])
def test_heads_of_vgg_and_mobilenet_start_small(name):
    torch.manual_seed(0)
    head = NETWORKS[name](100).get_classifier()
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not head.bias.any()


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_vgg8"])
def test_convolutions_start_with_a_spread_by_their_fan_out(name):
    torch.manual_seed(0)
    for layer in NETWORKS[name](10).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 5000:
            expected = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_saved_network_comes_back_with_its_logits_and_its_head(tmp_path, name):
    torch.manual_seed(0)
    model = with_statistics(build_classifier(name, CLASSES, 32))
    save_classifier(tmp_path / "m", model, {})
    loaded, _ = load_classifier(tmp_path / "m", torch.device("cpu"))
    assert loaded.spec == model.spec
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read_head_weights(tmp_path / "m"), model.head_weights())


def test_a_copy_has_a_head_of_its_own():
    model = NETWORKS["cifar_resnet8"](3)
    twin = copy.deepcopy(model)
    assert twin.get_classifier() is twin.classifier is not model.classifier


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_the_exported_network_computes_the_same(tmp_path, name):
    torch.manual_seed(0)
    model = build_classifier(name, CLASSES, 32).eval()
    path = tmp_path / "m.onnx"
    export_onnx(model.backbone, model.spec, path, batch="dynamic", opset=18)
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    check_parity(model.backbone, model.spec, path, images, tolerance=1e-4)

"""Untrained networks are exported, compared with PyTorch and costed in the form that ships."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ExportError
from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import check_parity, normalize_images
from pipeline.models.classifier import build_classifier
from pipeline.models.inference import measure_cost
from pipeline.scout import measuring
from pipeline.scout.untrained import make_realistic

CLASSES = tuple("abcde")
SIZE = 32
IMAGES = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)


def logits(network, spec):
    with torch.inference_mode():
        return network(normalize_images(IMAGES, spec)).numpy()


def spread(values):
    """Largest deviation from the mean over the images, relative to the largest |logit|."""
    return np.abs(values - values.mean(axis=0)).max() / max(np.abs(values).max(), 1e-30)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/vit_b_32", 32),  # a head of zeros
        ("repvgg_a0", 32),  # logits of 1e-7 of the bias
        ("mobileone_s0", 32),  # activations of 1e14
        ("torchvision/shufflenet_v2_x0_5", 32),
        ("resnet18", 32),  # norms with a scale of 0 in each branch
    ],
)
def test_logits_of_an_untrained_network_depend_on_the_image(name, size):
    torch.manual_seed(0)
    model = build_classifier(name, CLASSES, size).eval()
    make_realistic(model.backbone, normalize_images(IMAGES, model.spec))
    found = logits(model.backbone, model.spec)
    assert spread(found) > 0.1
    assert 1e-3 < np.abs(found).max() < 1e3
    assert not any(module.training for module in model.backbone.modules())
    scales = [p for n, p in model.named_parameters() if not n.endswith("bias")]
    assert all(scale.any() for scale in scales)


def test_norms_keep_their_momentum():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.BatchNorm2d(4))
    make_realistic(network, torch.randn(4, 3, 8, 8))
    assert [network[1].momentum, network[2].momentum] == [0.3, 0.1]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_few_images_are_enough_for_the_comparison(count):
    compared = measuring._compared(IMAGES[:1].repeat(count, axis=0))
    assert compared.shape == (8, SIZE, SIZE, 3)
    if count < 7:
        assert len(np.unique(compared.reshape(8, -1), axis=0)) == 2


def test_the_network_is_in_its_form_for_inference():
    network = measuring._build("mobileone_s0", IMAGES, len(CLASSES))
    trained = build_classifier("mobileone_s0", CLASSES, SIZE)
    assert measure_cost(network).parameters == sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in trained.parameters()) > 4 * measure_cost(network).parameters


@pytest.mark.slow
def test_a_head_of_zeros_is_compared_with_pytorch(tmp_path: Path):
    torch.manual_seed(0)
    untrained = build_classifier("torchvision/vit_b_32", CLASSES, SIZE).eval()
    path = tmp_path / "zeros.onnx"
    export_onnx(untrained.backbone, untrained.spec, path, batch=1, opset=18)
    with pytest.raises(ExportError, match="the same for all images"):
        check_parity(untrained.backbone, untrained.spec, path, IMAGES, tolerance=1e-4)
    network = measuring._build("torchvision/vit_b_32", IMAGES, len(CLASSES))
    export_onnx(network.backbone, network.spec, path, batch=1, opset=18)
    parity = check_parity(network.backbone, network.spec, path, IMAGES, tolerance=1e-4)
    assert parity.variation > 0.1

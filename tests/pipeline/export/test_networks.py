"""Networks of timm and torchvision, as a user's teacher: trained, saved, loaded and exported."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import check_parity
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.models.reparameterize import inference_form

CLASSES = tuple("abcd")


def blocks(size: int) -> NDArray[np.uint8]:
    """Images of random colored blocks, which a network tells apart."""
    colors = np.random.default_rng(0).integers(0, 256, (14, 4, 4, 3), dtype=np.uint8)
    return colors.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]


def step(model: torch.nn.Module, pixels: torch.Tensor) -> None:
    """A step of training, so that no layer has the zeros that some networks start with."""
    labels = torch.arange(len(pixels)) % len(CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    functional.cross_entropy(model.train()(pixels), labels).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    optimizer.step()


def larger(name: str, size: int) -> object:
    return pytest.param(name, size, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", 48),
        larger("test_convnext", 36),
        larger("test_maxvit", 64),
        larger("deit_tiny_distilled_patch16_224", 48),
        larger("swin_tiny_patch4_window7_224", 60),  # no multiple of its window
        larger("eva02_tiny_patch14_224", 56),
        larger("efficientvit_m0", 64),
        larger("mobilevitv2_050", 64),
        larger("torchvision/vit_b_32", 64),
        larger("torchvision/swin_t", 60),
        larger("torchvision/convnext_tiny", 48),
    ],
)
def test_a_trained_network_is_loaded_and_exported_for_any_batch(
    tmp_path: Path, name: str, size: int
) -> None:
    torch.manual_seed(0)
    images = blocks(size)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    model = build_classifier(name, CLASSES, size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step(model, pixels)
    save_classifier(tmp_path / "teacher", model, {})
    loaded, _ = load_classifier(tmp_path / "teacher", torch.device("cpu"))
    normalized = (pixels - loaded.mean) / loaded.std
    network = inference_form(loaded.backbone, normalized).network
    path = tmp_path / "teacher.onnx"
    export_onnx(network, loaded.spec, path, batch="dynamic", opset=18)
    parity = check_parity(network, loaded.spec, path, images, tolerance=1e-4)
    assert [difference.batch for difference in parity.differences] == [1, 2, 7]

    # Without Finch's comparison: the trained network in float64.
    with torch.no_grad():
        expected = copy.deepcopy(model).eval().double()(pixels.double()).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        (logits,) = session.run(["logits"], {"images": images[:batch]})
        limit = 1e-4 * np.abs(expected[:batch]).max(axis=1, keepdims=True)
        assert (np.abs(logits - expected[:batch]) <= limit).all()

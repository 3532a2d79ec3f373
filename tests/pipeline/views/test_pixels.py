import numpy as np

from pipeline.views import to_uint8, to_unit_range
from tests.pipeline.views.view_helpers import CPU, noise


def test_unit_range_is_exact():
    images = noise(2)
    found = to_unit_range(images, CPU)
    assert found.shape == (2, 3, 16, 16)
    expected = (images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_to_uint8_inverts_to_unit_range():
    images = noise(2)
    np.testing.assert_array_equal(to_uint8(to_unit_range(images, CPU)).numpy(), images)

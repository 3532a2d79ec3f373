import numpy as np
from scipy.stats import binom

from pipeline.params import Views
from tests.pipeline.views.view_helpers import NOTHING, views_of

WHITE = np.full((300, 32, 32, 3), 255, np.uint8)


def test_half_of_the_views_have_a_shadow_up_to_the_maximum():
    light = views_of(WHITE, Views(**NOTHING, shadow=0.6))
    low, high = binom.interval(0.999, len(WHITE), 0.5)
    darkest = light.min(axis=(1, 2, 3))
    assert low <= (darkest < 0.999).sum() <= high
    assert 0.4 - 1e-6 <= darkest.min() < 0.45
    np.testing.assert_allclose(light[..., 0], light[..., 2])  # no change of color


def test_a_shadow_grows_from_one_side_to_the_other():
    """Along every row and column, light only falls or only rises."""
    light = views_of(WHITE, Views(**NOTHING, shadow=0.6))[..., 0]
    for axis in (1, 2):
        steps = np.diff(light, axis=axis)
        rising, falling = (steps >= -1e-6).all(axis=(1, 2)), (steps <= 1e-6).all(axis=(1, 2))
        assert (rising | falling).all()
        assert rising.any()
        assert falling.any()


def test_the_line_passes_through_the_image():
    """Every strong shadow has its half darkness somewhere in the image."""
    light = views_of(WHITE, Views(**NOTHING, shadow=1.0))[..., 0]
    strong = light[light.min(axis=(1, 2)) < 0.5]
    assert len(strong) > 50
    lit = (strong > 0.75).mean(axis=(1, 2))
    assert lit.max() > 0.7
    assert lit.min() < 0.3

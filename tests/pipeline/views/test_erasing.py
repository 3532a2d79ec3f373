import numpy as np
from scipy.stats import binom

from pipeline.params import Views
from tests.pipeline.views.made_views import NOTHING, noise, views_of


def erased(share, count, size=32):
    images = noise(count, size)
    views = views_of(images, Views(**{**NOTHING, "erase": share}))
    changed = np.abs(views - images / 255).max(axis=3) > 1e-3
    return images, views, changed


def test_an_erased_rectangle_holds_the_mean_colour_and_the_rest_is_kept():
    images, views, changed = erased(1.0, 100)
    for image, view, hit in zip(images, views, changed, strict=True):
        rows, columns = np.flatnonzero(hit.any(axis=1)), np.flatnonzero(hit.any(axis=0))
        box = view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mean = (image / 255).mean(axis=(0, 1))
        np.testing.assert_allclose(box, np.broadcast_to(mean, box.shape), rtol=0, atol=1e-4)
        # A fifth at most, but for the rounding of the sides to whole pixels.
        assert (len(rows) - 1) * (len(columns) - 1) < 0.2 * 32 * 32


def test_as_many_views_are_erased_as_the_share_says():
    _, _, changed = erased(0.3, 500, size=16)
    low, high = binom.interval(0.999, 500, 0.3)
    assert low <= changed.any(axis=(1, 2)).sum() <= high
    assert not erased(0.0, 50)[2].any()

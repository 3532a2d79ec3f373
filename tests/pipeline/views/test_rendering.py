import io

import numpy as np
import pytest
from finch_runtime.images import load_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.params import Views
from pipeline.views import make_views
from tests.pipeline.views.view_helpers import CPU, EVERYTHING, FIELD, NOTHING, noise

GEOMETRY = {
    "crop_ratio": 1.3,
    "horizontal_flip": True,
    "vertical_flip": True,
    "quarter_turns": True,
}
WARPS = {"rotate": 25.0, "perspective": 0.2}


def render(images, recipe, size=None, view=0, ids=None):
    ids = np.arange(len(images)) if ids is None else ids
    return make_views(images, ids, view, recipe, CPU, size).permute(0, 2, 3, 1).numpy()


def smooth(count, size):
    """Images of low spatial frequency, which look alike at every size."""
    images = [Image.fromarray(image) for image in noise(count, size=6)]
    scaled = [image.resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in scaled])


def means(views, factor):
    """Means of blocks of ``factor`` pixels per side."""
    count, size, *_ = views.shape
    blocks = views.reshape(count, size // factor, factor, size // factor, factor, 3)
    return blocks.mean(axis=(2, 4))


@pytest.mark.parametrize("settings", [{}, EVERYTHING, {**EVERYTHING, **FIELD}])
def test_at_the_packed_size_nothing_changes(settings):
    images, recipe = noise(6, size=24), Views(**settings)
    assert np.array_equal(render(images, recipe), render(images, recipe, 24))


@given(
    scale=st.floats(0.1, 1),
    warps=st.sampled_from([{}, WARPS]),
    factor=st.sampled_from([2, 3, 4]),
    view=st.integers(0, 50),
)
@settings(max_examples=25, deadline=None)
def test_views_of_two_sizes_show_the_same_crop(scale, warps, factor, view):
    images = smooth(4, 96)
    recipe = Views(**{**NOTHING, **GEOMETRY, **warps, "crop_scale": scale})
    large, small = render(images, recipe, view=view), render(images, recipe, 96 // factor, view)
    # A crop next to it, by one pixel of the small view, would differ by 0.05 in the mean.
    assert np.abs(small - means(large, factor)).mean() < 0.01


def test_views_of_two_sizes_have_the_same_changes_of_color():
    images = smooth(8, 96)
    colors = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3, "erase": 0.5}
    for auto in ("none", "trivial"):
        recipe = Views(**{**NOTHING, **colors, "auto": auto})
        large, small = render(images, recipe), render(images, recipe, 32)
        # Posterization and equalization make steps of small differences.
        assert np.median(np.abs(small - means(large, 3))) < 0.01


@pytest.mark.parametrize("size", [20, 32, 48, 64, 90])
def test_a_view_is_as_sharp_as_an_image_scaled_on_a_device(size):
    image = noise(1, size=96)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    expected = load_image(file, size, "crop") / 255
    (found,) = render(image[None], Views(**NOTHING), size)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.01)
    # The contrast of noise that is left depends on the width of the filter alone; without a filter
    # it would be up to 4 times that of the device.
    assert 0.7 < found.std() / expected.std() < 1.5


def test_stripes_finer_than_the_pixels_of_a_view_become_gray():
    stripes = np.zeros((8, 96, 96, 3), np.uint8)
    stripes[:, :, ::2] = 255
    recipe = Views(**{**NOTHING, "crop_scale": 0.9})
    assert np.abs(render(stripes, recipe, 32) - 0.5).max() < 0.1


@given(st.permutations(range(8)), st.integers(1, 8), st.sampled_from([EVERYTHING, FIELD]))
@settings(max_examples=20, deadline=None)
def test_a_small_view_is_the_same_to_the_bit_in_any_batch(order, count, settings):
    images, recipe = noise(8, size=64), Views(**{**settings, "crop_scale": 0.1})
    expected, ids = render(images, recipe, 24), np.array(order[:count])
    assert np.array_equal(render(images[ids], recipe, 24, ids=ids), expected[ids])

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.params import Views
from pipeline.views import make_views, to_unit_range

CPU = torch.device("cpu")
NOTHING = {
    "crop_scale": 1.0,
    "crop_ratio": 1.0,
    "horizontal_flip": False,
    "brightness": 0.0,
    "contrast": 0.0,
}
EVERYTHING = {
    "crop_scale": 0.5,
    "vertical_flip": True,
    "quarter_turns": True,
    "saturation": 0.3,
    "erase": 0.5,
}


def noise(count, size=16, low=0, high=256):
    return np.random.default_rng(3).integers(low, high, (count, size, size, 3), dtype=np.uint8)


def views_of(images, recipe, view=0, ids=None):
    """Float [n, size, size, 3], to be compared with images."""
    ids = np.arange(len(images)) if ids is None else ids
    return make_views(images, ids, view, recipe, CPU).permute(0, 2, 3, 1).numpy()


@given(st.permutations(range(6)), st.integers(1, 6), st.integers(0, 20))
@settings(max_examples=30)
def test_a_view_is_the_same_in_any_batch(order, size, view):
    images, recipe = noise(6), Views(**EVERYTHING, seed=7)
    expected = views_of(images, recipe, view)
    ids = np.array(order[:size])
    found = views_of(images[ids], recipe, view, ids)
    np.testing.assert_allclose(found, expected[ids], rtol=0, atol=1e-6)


def test_seed_view_and_image_each_give_other_pixels():
    image, recipe = noise(1), Views(**EVERYTHING)
    base = views_of(image, recipe)
    others = {
        "seed": views_of(image, Views(**EVERYTHING, seed=1)),
        "view": views_of(image, recipe, view=1),
        "image": views_of(image, recipe, ids=np.array([1])),
        # A seed and a view number are not interchangeable.
        "seed and view": views_of(image, Views(**EVERYTHING, seed=1), view=1),
    }
    pictures = [base, *others.values()]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert np.abs(one - other).max() > 0.05


def test_with_everything_off_a_view_is_the_image():
    images = noise(4, size=96)
    found = views_of(images, Views(**NOTHING), view=5)
    np.testing.assert_allclose(found, images / 255, rtol=0, atol=0.1 / 255)
    assert found.dtype == np.float32


def test_unit_range_is_exact():
    images = noise(2)
    found = to_unit_range(images, CPU)
    assert found.shape == (2, 3, 16, 16)
    expected = (images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.numpy(), expected)


MIRROR, UPSIDE_DOWN = (lambda image: image[:, ::-1]), (lambda image: image[::-1])


def turned(times):
    return lambda image: np.rot90(image, times)


@pytest.mark.parametrize(
    ("switches", "moves"),
    [
        ({"horizontal_flip": True}, [turned(0), MIRROR]),
        ({"vertical_flip": True}, [turned(0), UPSIDE_DOWN]),
        ({"quarter_turns": True}, [turned(times) for times in range(4)]),
        (
            {"horizontal_flip": True, "vertical_flip": True, "quarter_turns": True},
            [turned(k) for k in range(4)] + [lambda i, k=k: np.rot90(i[::-1], k) for k in range(4)],
        ),
    ],
)
def test_flips_and_quarter_turns_are_those_of_numpy_and_all_occur(switches, moves):
    """Each move with the same chance: none is below a thousandth of the binomial."""
    image, count = noise(1)[0], 400
    views = views_of(np.repeat(image[None], count, 0), Views(**{**NOTHING, **switches}))
    candidates = np.stack([move(image) for move in moves]) / 255
    errors = np.abs(views[:, None] - candidates).max(axis=(2, 3, 4))
    assert errors.min(axis=1).max() < 1e-4
    seen = np.bincount(errors.argmin(axis=1), minlength=len(moves))
    low, high = binom.interval(0.999, count, 1 / len(moves))
    assert low <= seen.min() <= seen.max() <= high


unit = st.floats(0, 1)


@given(
    st.builds(
        Views,
        seed=st.integers(0, 2**31),
        crop_scale=st.floats(0.05, 1),
        crop_ratio=st.floats(1, 4),
        horizontal_flip=st.booleans(),
        vertical_flip=st.booleans(),
        quarter_turns=st.booleans(),
        brightness=unit,
        contrast=unit,
        saturation=unit,
        erase=unit,
    ),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_any_recipe_gives_pixels_in_the_unit_range(recipe, view):
    found = make_views(noise(3), np.arange(3), view, recipe, CPU)
    assert found.shape == (3, 3, 16, 16)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.min() >= 0
    assert found.max() <= 1


def windows(recipe, count=200):
    """Left, top, width and height of each view's crop, as shares of the image, read off ramps.

    The red channel tells a pixel's column and the green one its row, so that the slopes of a view
    are the sides of its crop.
    """
    size = 64
    ramp = np.zeros((size, size, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = 4 * np.arange(size), 4 * np.arange(size)[:, None]
    views = views_of(np.repeat(ramp[None], count, 0), recipe) * 255 / (4 * size)
    # Away from the border, where reflection bends the ramp.
    middle = slice(size // 4, 3 * size // 4)
    column = views[:, size // 2, middle, 0]
    row = views[:, middle, size // 2, 1]
    width = (column[:, -1] - column[:, 0]) / (size // 2 - 1) * size
    height = (row[:, -1] - row[:, 0]) / (size // 2 - 1) * size
    # Values are columns counted from 0; a pixel's centre is half a column further.
    centre_x, centre_y = column.mean(axis=1) + 0.5 / size, row.mean(axis=1) + 0.5 / size
    return centre_x - width / 2, centre_y - height / 2, width, height


@pytest.mark.parametrize(("scale", "ratio"), [(0.3, 1.0), (0.2, 2.0), (0.7, 1.2), (1.0, 1.0)])
def test_a_crop_lies_within_the_image_and_keeps_its_share(scale, ratio):
    recipe = Views(**{**NOTHING, "crop_scale": scale, "crop_ratio": ratio})
    left, top, width, height = windows(recipe)
    slack = 1e-4
    assert min(left.min(), top.min()) > -slack
    assert max((left + width).max(), (top + height).max()) < 1 + slack
    assert (width * height).min() > scale - slack
    assert (width / height).max() < ratio + 10 * slack
    assert (height / width).max() < ratio + 10 * slack
    if scale < 1:
        # The crops use the room that they have.
        assert (width * height).min() < scale + 0.1 * (1 - scale)
        assert (width * height).max() > 0.9 / ratio
        assert left.std() > 0.01


@pytest.mark.parametrize(("scale", "ratio"), [(1.0, 1.2), (0.9, 2.0)])
def test_a_long_crop_keeps_its_share_too(scale, ratio):
    recipe = Views(**{**NOTHING, "crop_scale": scale, "crop_ratio": ratio})
    _, _, width, height = windows(recipe)
    assert (width * height).min() > scale - 1e-4


def test_brightness_scales_every_pixel_alike():
    images = noise(200, low=20, high=100)
    factors = views_of(images, Views(**{**NOTHING, "brightness": 0.4})) / (images / 255)
    per_view = factors.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(factors, per_view[:, None, None, None] * np.ones((16, 16, 3)), 1e-3)
    assert 0.6 < per_view.min() < 0.65
    assert 1.35 < per_view.max() < 1.4


@pytest.mark.parametrize(
    ("name", "axes"), [("contrast", (1, 2, 3)), ("saturation", (3,))], ids=["contrast", "colour"]
)
def test_contrast_and_saturation_scale_the_distance_from_the_mean(name, axes):
    """From the image's mean for contrast, from the pixel's own grey for saturation."""
    images = noise(200, low=90, high=160)
    found = views_of(images, Views(**{**NOTHING, name: 0.4})).astype(np.float64)
    before = images / 255 - (images / 255).mean(axis=axes, keepdims=True)
    after = found - found.mean(axis=axes, keepdims=True)
    kept = (images / 255).mean(axis=axes)
    np.testing.assert_allclose(found.mean(axis=axes), kept, rtol=0, atol=1e-5)
    factor = (before * after).sum(axis=(1, 2, 3)) / (before**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(after, factor[:, None, None, None] * before, rtol=0, atol=1e-4)
    assert 0.6 < factor.min() < 0.65
    assert 1.35 < factor.max() < 1.4


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

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.params import Views
from tests.pipeline.views.view_helpers import NOTHING, noise, views_of

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
    """All are equally likely: the counts are in the 99.9 % interval of the binomial."""
    image, count = noise(1)[0], 400
    views = views_of(np.repeat(image[None], count, 0), Views(**{**NOTHING, **switches}))
    candidates = np.stack([move(image) for move in moves]) / 255
    errors = np.abs(views[:, None] - candidates).max(axis=(2, 3, 4))
    assert errors.min(axis=1).max() < 1e-4
    seen = np.bincount(errors.argmin(axis=1), minlength=len(moves))
    low, high = binom.interval(0.999, count, 1 / len(moves))
    assert low <= seen.min() <= seen.max() <= high


def windows(recipe, count=200):
    """Left, top, width and height of each view's crop, as fractions of the image, read off ramps.

    The red channel contains the column of a pixel, the green channel its row. The slopes of a
    view are the sides of its crop.
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
    # Values are columns counted from 0; a pixel's center is half a column further.
    center_x, center_y = column.mean(axis=1) + 0.5 / size, row.mean(axis=1) + 0.5 / size
    return center_x - width / 2, center_y - height / 2, width, height


@pytest.mark.parametrize(("scale", "ratio"), [(0.3, 1.0), (0.2, 2.0), (0.7, 1.2), (1.0, 1.0)])
def test_a_crop_is_within_the_image_and_has_at_least_its_minimum_area(scale, ratio):
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
def test_a_long_crop_has_at_least_its_minimum_area(scale, ratio):
    recipe = Views(**{**NOTHING, "crop_scale": scale, "crop_ratio": ratio})
    _, _, width, height = windows(recipe)
    assert (width * height).min() > scale - 1e-4


def erased(probability, count, size=32):
    images = noise(count, size)
    views = views_of(images, Views(**{**NOTHING, "erase": probability}))
    changed = np.abs(views - images / 255).max(axis=3) > 1e-3
    return images, views, changed


def test_an_erased_rectangle_holds_the_mean_color_and_the_rest_is_kept():
    images, views, changed = erased(1.0, 100)
    for image, view, hit in zip(images, views, changed, strict=True):
        rows, columns = np.flatnonzero(hit.any(axis=1)), np.flatnonzero(hit.any(axis=0))
        box = view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mean = (image / 255).mean(axis=(0, 1))
        np.testing.assert_allclose(box, np.broadcast_to(mean, box.shape), rtol=0, atol=1e-4)
        # A fifth at most, but for the rounding of the sides to whole pixels.
        assert (len(rows) - 1) * (len(columns) - 1) < 0.2 * 32 * 32


def test_the_fraction_of_erased_views_is_the_probability():
    _, _, changed = erased(0.3, 500, size=16)
    low, high = binom.interval(0.999, 500, 0.3)
    assert low <= changed.any(axis=(1, 2)).sum() <= high
    assert not erased(0.0, 50)[2].any()

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.params import Views
from pipeline.views import make_views
from pipeline.views.rng import random_numbers
from tests.pipeline.views.view_helpers import CPU, EVERYTHING, FIELD, NOTHING, noise, views_of


@pytest.fixture
def threads():
    """Sets the threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


RECIPES = [
    Views(**EVERYTHING, seed=7),
    Views(**{**EVERYTHING, "auto": "trivial"}, seed=7),
    Views(**{**EVERYTHING, **FIELD}, seed=7),
    Views(auto="rand", auto_ops=5, auto_magnitude=30),
    Views(),
]


@given(st.permutations(range(8)), st.integers(1, 8), st.integers(0, 20), st.sampled_from(RECIPES))
@settings(max_examples=60)
def test_a_view_is_the_same_to_the_bit_in_any_batch(order, size, view, recipe):
    images = noise(8)
    expected = views_of(images, recipe, view)
    ids = np.array(order[:size])
    np.testing.assert_array_equal(views_of(images[ids], recipe, view, ids), expected[ids])


@pytest.mark.parametrize(
    "recipe",
    [*RECIPES[::3], Views(**{**EVERYTHING, **FIELD, "defocus": 0.015, "motion_blur": 0.02})],
)
def test_a_view_is_the_same_to_the_bit_alone_and_with_more_threads(threads, recipe):
    """Images so large that torch shares the sums of one among threads."""
    images, ids = noise(8, size=120), np.arange(8)
    threads(1)
    expected = views_of(images, recipe)
    threads(2)
    np.testing.assert_array_equal(views_of(images, recipe), expected)
    for one in ids.tolist():
        found = views_of(images[one : one + 1], recipe, ids=ids[one : one + 1])
        np.testing.assert_array_equal(found[0], expected[one])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_view_is_the_same_to_the_bit_in_any_batch_on_a_gpu(recipe):
    images, ids, device = noise(64, size=96), np.arange(64), torch.device("cuda")
    expected = make_views(images, ids, 0, recipe, device)
    for size in (1, 2, 7, 33):
        parts = [
            make_views(images[s : s + size], ids[s : s + size], 0, recipe, device)
            for s in range(0, 64, size)
        ]
        assert torch.equal(torch.cat(parts), expected)


def sampled(image, x, y):
    """The pixel at (x, y), with bilinear interpolation and reflection padding."""
    size = len(image)

    def pixel(column, row):
        inside = [-1 - place if place < 0 else place for place in (row, column)]
        row, column = (2 * size - 1 - place if place >= size else place for place in inside)
        return image[row, column]

    left, top = int(np.floor(x)), int(np.floor(y))
    u, v = x - left, y - top
    upper = (1 - u) * pixel(left, top) + u * pixel(left + 1, top)
    lower = (1 - u) * pixel(left, top + 1) + u * pixel(left + 1, top + 1)
    return (1 - v) * upper + v * lower


def default_view(image, numbers, recipe):
    """The default augmentation, pixel by pixel in double precision."""
    size = len(image)
    area = recipe.crop_scale + (1 - recipe.crop_scale) * numbers[0]
    ratio = np.clip(recipe.crop_ratio ** (2 * numbers[1] - 1), area, 1 / area)
    width, height = min(1, np.sqrt(area * ratio)), min(1, np.sqrt(area / ratio))
    left, top = (1 - width) * numbers[2], (1 - height) * numbers[3]
    view = np.empty(image.shape)
    for row in range(size):
        for column in range(size):
            x, y = (column + 0.5) / size, (row + 0.5) / size
            x = 1 - x if numbers[4] < 0.5 else x
            view[row, column] = sampled(
                image / 255, (left + width * x) * size - 0.5, (top + height * y) * size - 0.5
            )
    view = view.mean() + (view - view.mean()) * (1 + recipe.contrast * (2 * numbers[8] - 1))
    return np.clip(view * (1 + recipe.brightness * (2 * numbers[7] - 1)), 0, 1)


def test_default_views_agree_with_a_slow_reference_implementation():
    images, recipe = noise(12), Views(seed=3)
    numbers = random_numbers(np.arange(12), view=4, seed=3, count=16)
    expected = np.stack([default_view(i, n, recipe) for i, n in zip(images, numbers, strict=True)])
    np.testing.assert_allclose(views_of(images, recipe, view=4), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("settings", [EVERYTHING, {**NOTHING, **FIELD}])
def test_seed_view_and_image_each_change_the_pixels(settings):
    image, recipe = noise(1), Views(**settings)
    base = views_of(image, recipe)
    others = {
        "seed": views_of(image, Views(**settings, seed=1)),
        "view": views_of(image, recipe, view=1),
        "image": views_of(image, recipe, ids=np.array([1])),
        # A seed and a view number are not interchangeable.
        "seed and view": views_of(image, Views(**settings, seed=1), view=1),
    }
    pictures = [base, *others.values()]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert np.abs(one - other).max() > 0.05


def test_without_augmentation_a_view_is_the_image():
    images = noise(4, size=96)
    found = views_of(images, Views(**NOTHING), view=5)
    np.testing.assert_allclose(found, images / 255, rtol=0, atol=0.1 / 255)
    assert found.dtype == np.float32


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
        hue=st.floats(0, 0.5),
        auto=st.sampled_from(["none", "trivial", "rand"]),
        auto_magnitude=st.integers(0, 30),
        erase=unit,
        rotate=st.floats(0, 180),
        perspective=st.floats(0, 0.4),
        shadow=unit,
        defocus=st.floats(0, 0.1),
        motion_blur=st.floats(0, 0.2),
        noise=unit,
        jpeg_quality=st.integers(1, 100),
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


@pytest.mark.parametrize(
    "changes",
    [{"rotate": 1e-6}, {"perspective": 1e-9}, {"defocus": 1e-6}, {"noise": 1e-9}, {"shadow": 1e-9}],
)
@pytest.mark.parametrize("auto", ["none", "trivial", "rand"])
def test_an_operation_of_the_field_does_not_shift_the_random_numbers_of_others(changes, auto):
    """With a strength of almost 0, the view is that of the recipe without the operation."""
    settings = {**EVERYTHING, "auto": auto, "auto_ops": 32}
    expected = views_of(noise(20), Views(**settings))
    found = views_of(noise(20), Views(**settings, **changes))
    # `equalize` and `solarize` make steps of small differences.
    assert np.median(np.abs(found - expected)) < 1e-4


def test_vertical_flips_and_rotations_are_off_by_default():
    recipe = Views()
    assert recipe.horizontal_flip
    assert not recipe.vertical_flip
    assert not recipe.quarter_turns
    assert not recipe.imitates_the_field


@pytest.mark.parametrize("recipe", RECIPES)
def test_gray_images_change_as_images_with_equal_channels(recipe):
    gray = noise(8)[..., :1]
    found = views_of(gray, recipe, view=3)
    assert found.shape == (8, 16, 16, 1)
    expected = views_of(gray.repeat(3, axis=-1), recipe, view=3)
    np.testing.assert_array_equal(found, expected[..., :1])
    if not recipe.noise:
        np.testing.assert_allclose(expected, np.broadcast_to(found, expected.shape), atol=1 / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_are_on_the_device_give_the_same_views(channels):
    images, ids = noise(8)[..., :channels], np.arange(8)
    recipe = Views(quarter_turns=True, hue=0.1)
    expected = make_views(images, ids, 1, recipe, CPU)
    assert torch.equal(make_views(torch.from_numpy(images.copy()), ids, 1, recipe, CPU), expected)

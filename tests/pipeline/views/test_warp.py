"""Comparison with torchvision, which takes one angle and one homography for the whole batch."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pipeline.params import Views
from pipeline.views import to_unit_range
from pipeline.views.rng import Column, count_numbers, random_numbers
from pipeline.views.warp import homographies, random_warps
from tests.pipeline.views.view_helpers import CPU, NOTHING, noise, views_of

SIZE = 41
CORNERS = [[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]


def numbers_of(recipe, count):
    return random_numbers(np.arange(count), 0, recipe.seed, count_numbers(recipe))


def as_channels_last(pixels):
    return pixels.permute(1, 2, 0).numpy()


def inside(size, border):
    return slice(border, size - border), slice(border, size - border)


def test_rotations_are_those_of_torchvision():
    images, recipe = noise(12, SIZE), Views(**NOTHING, rotate=30.0)
    found = views_of(images, recipe)
    angles = 30 * (2 * numbers_of(recipe, 12)[:, Column.ROTATE] - 1)
    assert angles.min() < -10
    assert angles.max() > 10
    # torchvision fills the corners with black, views with the reflected image.
    middle = inside(SIZE, 10)
    for image, angle, view in zip(to_unit_range(images, CPU), angles, found, strict=True):
        expected = F.rotate(image, angle, interpolation=InterpolationMode.BILINEAR)
        np.testing.assert_allclose(view[middle], as_channels_last(expected)[middle], atol=1e-4)


def test_perspectives_are_those_of_torchvision():
    images, recipe = noise(12, SIZE), Views(**NOTHING, perspective=0.2)
    found = views_of(images, recipe)
    moves = 0.2 * (2 * numbers_of(recipe, 12)[:, Column.CORNERS :][:, :8] - 1)
    middle = inside(SIZE, 8)
    for image, move, view in zip(to_unit_range(images, CPU), moves, found, strict=True):
        moved = (np.array(CORNERS) + move.reshape(4, 2) * SIZE / 2).tolist()
        expected = F.perspective(image, moved, CORNERS, interpolation=InterpolationMode.BILINEAR)
        np.testing.assert_allclose(view[middle], as_channels_last(expected)[middle], atol=2e-3)


def test_a_homography_moves_the_corners_and_keeps_lines_straight():
    moves = np.random.default_rng(0).uniform(-0.4, 0.4, (200, 4, 2))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    found = homographies(moves)

    def apply(points):
        image = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ found.swapaxes(1, 2)
        assert (image[..., 2] > 0).all()  # no point behind the camera
        return image[..., :2] / image[..., 2:]

    np.testing.assert_allclose(apply(corners), corners + moves, atol=1e-9)
    first, middle, last = apply(np.array([[-1, 0.5], [0, 0.5], [1, 0.5]])).swapaxes(0, 1)
    (a, b), (c, d) = (middle - first).T, (last - first).T
    np.testing.assert_allclose(a * d, b * c, atol=1e-9)


def test_warps_are_composed_with_the_crop_in_one_interpolation():
    """Two interpolations would blur the edge of black and white."""
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, :, 32:] = 255
    recipe = Views(**{**NOTHING, "crop_scale": 0.3, "horizontal_flip": True}, rotate=45.0)
    views = views_of(np.repeat(image, 30, 0), recipe)
    # Of an enlarged, rotated edge, at most about the enlargement (1 / sqrt 0.3) is gray per row.
    gray = ((views[..., 0] > 0.01) & (views[..., 0] < 0.99)).sum(axis=2)
    assert np.median(gray[gray > 0]) <= 3


@pytest.mark.parametrize("changes", [{"rotate": 90.0}, {"perspective": 0.4}])
def test_the_warps_of_a_recipe_differ_between_images(changes):
    recipe = Views(**changes)
    warps = random_warps(numbers_of(recipe, 100), recipe)
    assert len(np.unique(warps.round(6), axis=0)) == 100
    assert torch.from_numpy(warps).isfinite().all()

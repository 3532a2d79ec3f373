"""Views of images that are not square."""

import io

import numpy as np
import pytest
import torch
from finch_runtime.images import load_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pipeline.params import Views
from pipeline.views import make_views, to_unit_range
from pipeline.views.blur import defocus
from pipeline.views.geometry import affine, random_erase, warp
from pipeline.views.rng import Column
from pipeline.views.shadow import cast_shadow
from pipeline.views.warp import rotations
from tests.pipeline.views.view_helpers import CPU, EVERYTHING, FIELD, NOTHING

HEIGHT, WIDTH = 24, 36
SHAPES = [(24, 36), (36, 24), (17, 50)]
ALL = {**EVERYTHING, **FIELD, "quarter_turns": False}


def noise(count, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth(height, width):
    """One image of low spatial frequency."""
    pixels = Image.fromarray(noise(1, 4, 5)[0]).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(pixels)[None]


def render(images, recipe, size=None, view=0, ids=None):
    ids = np.arange(len(images)) if ids is None else ids
    return make_views(images, ids, view, recipe, CPU, size).permute(0, 2, 3, 1).numpy()


@settings(max_examples=20, deadline=None)
@given(height=st.integers(3, 40), width=st.integers(3, 40))
def test_without_changes_a_view_is_the_image(height, width):
    images = noise(2, height, width)
    assert np.abs(render(images, Views(**NOTHING)) - images / 255).max() < 1e-4


@pytest.mark.parametrize("switch", ["horizontal_flip", "vertical_flip"])
def test_a_flip_mirrors_about_half_of_the_views_and_undoes_itself(switch):
    images = np.repeat(noise(1), 60, 0)
    recipe, axis = Views(**{**NOTHING, switch: True}), 2 if switch == "horizontal_flip" else 1
    once = render(images, recipe)
    flipped = np.abs(once - np.flip(images, axis) / 255).max(axis=(1, 2, 3)) < 1e-4
    same = np.abs(once - images / 255).max(axis=(1, 2, 3)) < 1e-4
    assert (flipped ^ same).all() and 10 < flipped.sum() < 50
    again = render((once * 255).round().astype(np.uint8), recipe)
    assert np.abs(again - images / 255).max() < 1e-4


def test_all_changes_of_a_view_keep_its_shape_and_do_not_depend_on_the_batch():
    for auto in ("rand", "trivial"):
        images, recipe = noise(8), Views(**{**ALL, "auto": auto})
        for size in ((24, 36), (16, 24)):
            views = render(images, recipe, size)
            assert views.shape == (8, *size, 3)
            assert views.min() >= 0 and views.max() <= 1
            alone = render(images[5:6], recipe, size, ids=np.array([5]))
            assert np.array_equal(views[5:6], alone)


@pytest.mark.parametrize("factor", [2, 3])
def test_views_of_two_sizes_show_the_same_crop(factor):
    images = np.repeat(smooth(72, 108), 6, 0)
    recipe = Views(**{**NOTHING, "horizontal_flip": True, "crop_scale": 0.4, "crop_ratio": 1.4},
                   rotate=20.0, perspective=0.2)  # fmt: skip
    large, small = render(images, recipe), render(images, recipe, (72 // factor, 108 // factor))
    blocks = large.reshape(6, 72 // factor, factor, 108 // factor, factor, 3).mean(axis=(2, 4))
    assert np.abs(small - blocks).mean() < 0.01


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_smaller_view_is_as_sharp_as_on_the_device(height, width):
    images, size = noise(4, 4 * height, 4 * width), (height, width)
    found = render(images, Views(**NOTHING), size)
    for image, view in zip(images, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        on_device = load_image(file, size, "crop") / 255
        assert np.corrcoef(view.ravel(), on_device.ravel())[0, 1] > 0.9
        assert view.std() == pytest.approx(on_device.std(), rel=0.15)


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("degrees", [-30.0, 10.0, 45.0])
def test_rotations_are_those_of_torchvision(height, width, degrees):
    """The same angle in pixels, not a shear: far from the border, where the paddings differ."""
    pixels = to_unit_range(smooth(height, width), CPU)
    theta = torch.eye(2, 3)[None]
    warps = torch.from_numpy(rotations(np.radians([degrees]), width / height)).float()
    found = warp(pixels, theta, warps, (height, width))
    expected = F.rotate(pixels, degrees, InterpolationMode.BILINEAR)
    inside = F.rotate(torch.ones_like(pixels), degrees, InterpolationMode.BILINEAR) > 0.999
    assert inside.float().mean() > 0.3
    assert (found - expected)[inside].abs().max() < 1e-3


def test_a_transform_can_change_the_shape():
    pixels = to_unit_range(smooth(24, 36), CPU)
    found = affine(pixels, torch.eye(2, 3)[None], "reflection", (12, 18))
    assert found.shape == (1, 3, 12, 18)
    means = pixels.unflatten(3, (18, 2)).unflatten(2, (12, 2)).mean(dim=(3, 5))
    assert (found - means).abs().max() < 1e-3


def test_blur_is_as_wide_as_high():
    pixels = torch.zeros(1, 3, 31, 51)
    pixels[..., 15, 25] = 1
    numbers = np.full((1, max(Column) + 1), 0.9)
    spread = defocus(pixels, numbers, 0.1)[0, 0]
    assert (spread > 0).any(dim=0).sum() == (spread > 0).any(dim=1).sum() > 3
    assert spread.sum().item() == pytest.approx(1, abs=1e-4)


def test_an_erased_rectangle_is_a_fraction_of_the_area():
    numbers = np.full((1, max(Column) + 1), 0.5, np.float32)
    numbers[0, Column.ERASE_AREA] = 1
    pixels = torch.rand(1, 3, 60, 240, generator=torch.Generator().manual_seed(0))
    erased = random_erase(pixels, torch.from_numpy(numbers), 1.0) != pixels
    assert erased.float().mean().item() == pytest.approx(0.2, abs=0.01)
    rows, columns = erased[0, 0].any(dim=1).sum(), erased[0, 0].any(dim=0).sum()
    assert abs(int(rows) - int(columns)) <= 1


def test_the_edge_of_a_shadow_is_straight_to_its_angle():
    """The gradient of the shadow has the direction of its normal, in pixels."""
    numbers = np.full((1, max(Column) + 1), 0.5)
    numbers[0, Column.SHADOW], numbers[0, Column.SHADOW_EDGE] = 0.9, 1
    numbers[0, Column.SHADOW_ANGLE] = 1 / 12  # 30 degrees
    light = cast_shadow(torch.ones(1, 3, 80, 160), numbers, 0.8)[0, 0].double()
    down, across = (step[:-1, :-1] for step in (light.diff(dim=0)[:, :-1], light.diff(dim=1)[:-1]))
    soft = across.abs() > 1e-4
    angle = torch.atan2(-down[soft], -across[soft]).rad2deg()
    assert angle.median().item() == pytest.approx(30, abs=0.5)

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from pipeline.params import Views
from pipeline.views.color import shift_hue
from tests.pipeline.views.view_helpers import NOTHING, noise, views_of


def test_brightness_scales_every_pixel_alike():
    images = noise(200, low=20, high=100)
    factors = views_of(images, Views(**{**NOTHING, "brightness": 0.4})) / (images / 255)
    per_view = factors.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(factors, per_view[:, None, None, None] * np.ones((16, 16, 3)), 1e-3)
    assert 0.6 < per_view.min() < 0.65
    assert 1.35 < per_view.max() < 1.4


@pytest.mark.parametrize(
    ("name", "axes"), [("contrast", (1, 2, 3)), ("saturation", (3,))], ids=["contrast", "color"]
)
def test_contrast_and_saturation_scale_the_distance_from_the_mean(name, axes):
    """From the image's mean for contrast, from the pixel's own gray for saturation."""
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


def test_shift_hue_agrees_with_torchvision_for_each_image():
    images = torch.from_numpy(noise(12)).permute(0, 3, 1, 2) / 255
    images[0] = 0.3
    images[1, 1:] = 0
    turns = torch.linspace(-0.5, 0.5, len(images))
    found = shift_hue(images, turns.view(-1, 1, 1, 1))
    for image, turn, turned in zip(images, turns.tolist(), found, strict=True):
        torch.testing.assert_close(turned, F.adjust_hue(image, turn), rtol=0, atol=1e-5)


def test_hue_shifts_up_to_its_maximum_and_changes_nothing_else():
    images = np.empty((200, 16, 16, 3), np.uint8)
    images[:] = (40, 200, 90)
    found = views_of(images, Views(**{**NOTHING, "hue": 0.1}))
    before = colorsys.rgb_to_hsv(*(images[0, 0, 0] / 255))
    after = np.array([colorsys.rgb_to_hsv(*view[0, 0].tolist()) for view in found])
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1, :1], found.shape), atol=1e-6)
    np.testing.assert_allclose(after[:, 1:], np.tile(before[1:], (200, 1)), atol=1e-5)
    turns = after[:, 0] - before[0]
    assert -0.1 - 1e-5 < turns.min() < -0.095
    assert 0.095 < turns.max() < 0.1 + 1e-5

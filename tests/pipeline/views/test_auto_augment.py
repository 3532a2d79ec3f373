"""Comparison with torchvision's classes, which are called with one image at a time."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from pipeline.params import Views
from pipeline.views import to_unit_range
from tests.pipeline.views.view_helpers import CPU, NOTHING, noise, views_of

OPERATIONS = 14
BINS = 31
SQUARE, RECTANGLE = (40, 40), (38, 52)  # more than the 32 px that TrivialAugment can shift by


def smooth_image(shape=SQUARE):
    """An image without edges, so that small errors of position are small errors of pixels."""
    coarse = torch.from_numpy(noise(1, size=5)).permute(0, 3, 1, 2)
    image = torch.nn.functional.interpolate(coarse.float(), shape, mode="bicubic").clamp(0, 255)
    image = image.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    # No pixel at a threshold of solarize, where rounding would decide.
    return np.where(image % 17 == 0, image ^ 1, image)


class Choices:
    """Replaces torch's random numbers, in the order in which torchvision draws them."""

    def __init__(self, monkeypatch):
        self.whole, self.signs = [], []
        monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(self.whole.pop(0)))
        monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(self.signs.pop(0)))


def every_outcome(transform, image, monkeypatch, magnitudes):
    """All results of torchvision for an image, [operations, magnitudes, signs, 3 * pixels]."""
    results = []
    with monkeypatch.context() as patch:
        choices = Choices(patch)
        for operation, magnitude, sign in product(range(OPERATIONS), magnitudes, (0.25, 0.75)):
            choices.whole, choices.signs = [operation, magnitude], [sign]
            results.append(transform(image).flatten())
    return torch.stack(results).view(OPERATIONS, len(magnitudes), 2, -1)


def nearest(views, outcomes):
    """The error and the index of the outcome nearest to each view."""
    flat = torch.from_numpy(views).permute(0, 3, 1, 2).flatten(1)
    errors = torch.cdist(flat, outcomes.flatten(0, -2), p=math.inf)
    return errors.min(dim=1)


@pytest.mark.parametrize("shape", [SQUARE, RECTANGLE])
def test_trivial_augment_agrees_with_torchvision_and_choices_are_uniform(monkeypatch, shape):
    image, count = smooth_image(shape), 600
    transform = v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
    pixels = to_unit_range(image, CPU)[0].contiguous()
    outcomes = every_outcome(transform, pixels, monkeypatch, range(BINS))
    for way, pixels_moved in enumerate((-16, 16)):
        # 15 pixels in torchvision, where half of 32 comes out as 15.999999.
        for operation, shift in ((3, [pixels_moved, 0]), (4, [0, pixels_moved])):
            moved = F.affine(pixels, angle=0, translate=shift, scale=1, shear=[0, 0])
            outcomes[operation, 15, way] = moved.flatten()
    recipe = Views(**NOTHING, auto="trivial")
    missed, which = nearest(views_of(np.repeat(image, count, 0), recipe), outcomes)
    assert missed.max() < 1e-4
    operation, magnitude, sign = np.unravel_index(which.numpy(), outcomes.shape[:-1])
    # Some outcomes are one and the same: nothing at all, or a magnitude that does not matter.
    plain = (outcomes - pixels.flatten()).abs().amax(dim=-1) < 1e-4
    moved = ~plain.numpy()[operation, magnitude, sign]
    assert set(operation[moved]) == set(range(1, OPERATIONS))
    _, high = binom.interval(0.9999, count, 1 / OPERATIONS)
    seen = np.bincount(operation[moved], minlength=OPERATIONS)
    assert seen.max() <= high
    rotated = operation == 5
    assert len(set(magnitude[rotated])) > 15
    assert 0.2 < sign[rotated & moved].mean() < 0.8


@pytest.mark.parametrize(
    ("magnitude", "shape"), [(0, SQUARE), (9, SQUARE), (30, SQUARE), (9, RECTANGLE)]
)
def test_rand_augment_agrees_with_torchvision(monkeypatch, magnitude, shape):
    image, count = smooth_image(shape), 150
    transform = v2.RandAugment(
        num_ops=1, magnitude=magnitude, interpolation=InterpolationMode.BILINEAR
    )
    outcomes = every_outcome(transform, to_unit_range(image, CPU)[0], monkeypatch, [magnitude])
    recipe = Views(**NOTHING, auto="rand", auto_ops=1, auto_magnitude=magnitude)
    missed, which = nearest(views_of(np.repeat(image, count, 0), recipe), outcomes)
    assert missed.max() < 1e-4
    assert magnitude == 0 or len(which.unique()) > 20


def test_rand_augment_applies_its_operations_in_sequence():
    """An operation is the same whatever follows, and what follows starts from its result."""
    image = np.repeat(smooth_image(), 60, 0)
    one, two = (
        views_of(image, Views(**NOTHING, auto="rand", auto_ops=ops, auto_magnitude=20))
        for ops in (1, 2)
    )
    same = (one == two).all(axis=(1, 2, 3))
    # Where the second operation is the identity, or makes no difference.
    assert 0 < same.sum() < 20


def test_a_stronger_magnitude_changes_more():
    image = np.repeat(smooth_image(), 100, 0)

    def change(magnitude):
        recipe = Views(**NOTHING, auto="rand", auto_magnitude=magnitude)
        return np.abs(views_of(image, recipe) - image / 255).mean()

    assert change(3) < change(12) < change(30)

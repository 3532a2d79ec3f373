import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import binom

from pipeline.params import Views
from pipeline.views.blur import discs, filter_each, segments
from tests.pipeline.views.view_helpers import NOTHING, noise, views_of


def moments(kernel):
    """Mean and covariance of the places, weighted by the kernel."""
    reach = len(kernel) // 2
    places = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    mean = kernel.flatten() @ places
    return mean, np.einsum("p,pi,pj", kernel.flatten(), places - mean, places - mean)


@pytest.mark.parametrize("radius", [3.0, 5.5, 8.0])
def test_a_disc_has_the_moments_of_a_disc(radius):
    kernel = discs(np.array([radius]), 9)[0]
    mean, covariance = moments(kernel)
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    np.testing.assert_allclose(covariance, np.eye(2) * radius**2 / 4, atol=0.06 * radius**2 / 4)
    assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120])
def test_a_segment_has_the_moments_of_a_segment(degrees):
    length, angle = 12.0, np.radians(degrees)
    kernel = segments(np.array([length]), np.array([angle]), 8)[0]
    mean, covariance = moments(kernel)
    direction = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-direction[1], direction[0]])
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    assert direction @ covariance @ direction == pytest.approx(length**2 / 12, rel=0.1)
    assert across @ covariance @ across < 0.3  # the width of about one pixel
    assert kernel.sum() == pytest.approx(1)


def test_without_a_radius_or_length_nothing_is_blurred():
    nothing = np.zeros((1, 5, 5))
    nothing[0, 2, 2] = 1
    np.testing.assert_array_equal(discs(np.array([0.4]), 2), nothing)
    np.testing.assert_allclose(segments(np.zeros(1), np.ones(1), 2), nothing, atol=1e-12)


def test_every_image_is_filtered_with_its_own_kernel_as_by_scipy():
    pixels = torch.from_numpy(noise(6)).permute(0, 3, 1, 2) / 255
    kernels = np.random.default_rng(1).random((6, 5, 5))
    kernels += kernels[:, ::-1, ::-1]  # symmetric about the center, as all kernels of blur
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    found = filter_each(pixels, kernels)
    for image, kernel, result in zip(pixels, kernels, found, strict=True):
        for channel, blurred in zip(image, result, strict=True):
            expected = ndimage.convolve(channel.double().numpy(), kernel, mode="nearest")
            np.testing.assert_allclose(blurred, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["defocus", "motion_blur"])
def test_half_of_the_views_are_blurred_and_keep_their_mean(name):
    images = noise(300, size=32)
    found = views_of(images, Views(**NOTHING, **{name: 0.1}))
    sharpness = found.std(axis=(1, 2, 3)) / (images / 255).std(axis=(1, 2, 3))
    low, high = binom.interval(0.999, 300, 0.5)
    # A disc of at most half a pixel blurs nothing.
    assert low * 0.8 <= (sharpness < 0.99).sum() <= high
    assert sharpness.min() < 0.5
    assert sharpness.max() < 1 + 1e-4
    np.testing.assert_allclose(found.mean(), images.mean() / 255, atol=1e-3)

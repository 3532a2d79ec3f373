"""Scaled pixels against closed forms and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.fit import FITS
from finch_runtime.image_size import image_size
from finch_runtime.images import load_image, load_inputs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.deploy.drawn_images import Array, encoded, noise


def triangle(length: int, start: float, stop: float, size: int) -> Array:
    """Weights [size, length] that scale start ... stop, antialiased bilinear by its definition."""
    scale = (stop - start) / size
    centers = start + (np.arange(size) + 0.5) * scale
    places = np.arange(length) + 0.5
    weights = np.maximum(0, 1 - np.abs(places - centers[:, None]) / max(scale, 1))
    result: Array = weights / weights.sum(axis=1, keepdims=True)
    return result


SIZES = st.tuples(st.integers(1, 30), st.integers(1, 30))

"""Heights and widths of inputs."""


def scaled(image: Array, size: tuple[int, int], fit: str) -> Array:
    kept = list(image.shape[:2])
    if fit == "crop":  # the largest whole number of pixels in the ratio of the result
        unit = min(side / wanted for side, wanted in zip(kept, size))  # noqa: B905, Python 3.9
        kept = [min(side, max(1, round(unit * wanted))) for side, wanted in zip(kept, size)]  # noqa: B905
    rows, columns = (
        triangle(side, (side - inner) // 2, (side - inner) // 2 + inner, wanted)
        for side, inner, wanted in zip(image.shape, kept, size)  # noqa: B905
    )
    result: Array = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns)
    return result


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    size=SIZES,
    fit=st.sampled_from(["crop", "stretch"]),
)
def test_scaling_is_the_antialiased_bilinear_filter(
    height: int, width: int, size: tuple[int, int], fit: str
) -> None:
    image = noise(height, width, 3)
    result = load_image(encoded(Image.fromarray(image)), image_size(*size), fit)
    assert result.dtype == np.uint8 and result.shape == (*size, 3)
    # Pillow rounds to 8 bits after each of its two passes.
    assert np.abs(result - scaled(image, size, fit)).max() <= 1.01


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), size=SIZES)
def test_padding_is_that_of_pillow(height: int, width: int, size: tuple[int, int]) -> None:
    scale = min(size[0] / height, size[1] / width)
    assume(min(height, width) * scale > 0.5)  # ImageOps.pad fails
    image = Image.fromarray(noise(height, width, 3))
    expected = ImageOps.pad(image, size[::-1], Image.Resampling.BILINEAR, (114, 114, 114))
    result = load_image(encoded(image), image_size(*size), "pad")
    assert np.array_equal(result, np.asarray(expected))


@settings(max_examples=40, deadline=None)
@given(size=SIZES, factor=st.integers(1, 3), margin=st.integers(0, 9), wide=st.booleans())
def test_a_crop_of_whole_pixels_is_that_of_pillow(
    size: tuple[int, int], factor: int, margin: int, wide: bool
) -> None:
    height, width = (factor * side for side in size)
    shape = (height, width + 2 * margin) if wide else (height + 2 * margin, width)
    image = Image.fromarray(noise(*shape, 3))
    expected = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    result = load_image(encoded(image), image_size(*size), "crop")
    assert np.array_equal(result, np.asarray(expected))


def test_a_padded_strip_is_a_line_of_pixels() -> None:
    strip = Image.new("RGB", (20_001, 1), (10, 20, 30))
    result = load_image(encoded(strip), 31, "pad")
    assert (result[15] == (10, 20, 30)).all()
    assert (np.delete(result, 15, axis=0) == 114).all()


@pytest.mark.parametrize("fit", FITS)
def test_an_image_for_several_inputs_equals_that_for_each_input(fit: str) -> None:
    file = encoded(Image.fromarray(noise(50, 31, 3)))
    inputs = [(40, fit), (7, fit), (16, "crop")]
    found = load_inputs(file, inputs)
    for (size, each), image in zip(inputs, found):  # noqa: B905, strict needs Python 3.10
        assert np.array_equal(image, load_image(file, size, each))
    with pytest.raises(RuntimeProblem, match="size: 0 is too small"):
        load_inputs(file, [(40, fit), (0, fit)])


def test_an_image_of_the_right_size_keeps_every_pixel() -> None:
    image = noise(24, 24, 3)
    assert np.array_equal(load_image(encoded(Image.fromarray(image)), 24, "crop"), image)
    wide = noise(24, 31, 3)
    assert np.array_equal(load_image(encoded(Image.fromarray(wide)), 24, "crop"), wide[:, 3:27])


def test_only_the_center_of_a_thin_strip_is_enlarged() -> None:
    strip = np.zeros((1, 200_001, 3), np.uint8)
    strip[0, 99_999:100_002] = (10, 20, 30)
    result = load_image(encoded(Image.fromarray(strip)), 224, "crop")
    assert (result == (10, 20, 30)).all()


@pytest.mark.parametrize(("size", "fit"), [(0, "crop"), (8, "squash")])
def test_an_invalid_size_or_fit_is_rejected(size: int, fit: str) -> None:
    with pytest.raises(RuntimeProblem):
        load_image(encoded(Image.fromarray(noise(8, 8, 3))), size, fit)

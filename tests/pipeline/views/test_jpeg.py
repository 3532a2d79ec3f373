import io

import numpy as np
from PIL import Image
from scipy.stats import binom

from pipeline.params import Views
from pipeline.views.rng import Column, count_numbers, random_numbers
from tests.pipeline.views.view_helpers import NOTHING, noise, views_of


def by_pillow(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_half_of_the_views_are_those_that_pillow_writes_and_reads():
    recipe, count = Views(**NOTHING, jpeg_quality=20), 100
    images = noise(count, size=32, low=60, high=200)
    found = views_of(images, recipe) * 255
    numbers = random_numbers(np.arange(count), 0, 0, count_numbers(recipe))[:, Column.JPEG]
    compressed = numbers > 0.51
    low, high = binom.interval(0.999, count, 0.5)
    assert low <= compressed.sum() <= high
    for image, view, number in zip(images, found, numbers, strict=True):
        if number > 0.51:
            quality = 100 - round(80 * (2 * number - 1))
            # The two decoders may round differently.
            assert np.abs(view - by_pillow(image, quality)).mean() < 0.5
        elif number < 0.5:
            np.testing.assert_allclose(view, image, atol=0.1)


def test_a_lower_quality_changes_more():
    images = noise(100, size=32)

    def change(quality):
        return np.abs(views_of(images, Views(**NOTHING, jpeg_quality=quality)) - images / 255)

    assert change(90).mean() < change(50).mean() < change(10).mean()

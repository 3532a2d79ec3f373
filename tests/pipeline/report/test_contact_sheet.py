import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report.contact_sheet import contact_sheet, shrink


def decode(address):
    head, _, body = address.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_images_are_arranged_in_rows():
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
    images = [np.full((40, 40, 3), color, np.uint8) for color in colors]
    sheet = decode(contact_sheet(images, 3))
    assert sheet.shape == (82, 124, 3)
    for place, color in enumerate(colors):
        middle = sheet[20 + 42 * (place // 3), 20 + 42 * (place % 3)]
        assert np.abs(middle - color).max() < 12
    assert sheet[60, 104].min() > 240, "the rest is white"


def test_fewer_images_than_columns_make_a_narrow_sheet():
    assert decode(contact_sheet([np.zeros((16, 16, 3), np.uint8)], 9)).shape == (16, 16, 3)


@pytest.mark.parametrize(("size", "side"), [(96, 96), (64, 64), (300, 96)])
def test_shrinking_keeps_small_images_and_mean_values(size, side):
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    small = shrink(image, 96)
    assert small.shape == (side, side, 3)
    assert np.allclose(small.mean((0, 1)), image.mean((0, 1)), atol=1)

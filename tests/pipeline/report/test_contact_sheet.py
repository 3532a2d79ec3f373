import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report.contact_sheet import contact_sheet, shrink


def decode(sheet):
    """The pixels of a sheet, int16 [height, width, 4]: red, green, blue and opacity."""
    head, _, body = sheet.address.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.size == (sheet.width, sheet.height)
        return np.asarray(image.convert("RGBA"), np.int16)


def test_images_are_arranged_in_rows():
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
    images = [np.full((40, 40, 3), color, np.uint8) for color in colors]
    sheet = decode(contact_sheet(images, 3))
    assert sheet.shape == (82, 124, 4)
    for place, color in enumerate(colors):
        middle = sheet[20 + 42 * (place // 3), 20 + 42 * (place % 3)]
        assert np.abs(middle - (*color, 255)).max() < 12
    assert sheet[60, 104, 3] == 0, "the rest is transparent"


def test_a_place_can_stay_empty():
    image = np.full((16, 16, 3), 90, np.uint8)
    opacity = decode(contact_sheet([image, None, image, image], 2))[..., 3]
    assert (opacity[:16, 18:] == 0).all() and (opacity[18:, 18:] == 255).all()


def test_fewer_images_than_columns_make_a_narrow_sheet():
    assert decode(contact_sheet([np.zeros((16, 16, 3), np.uint8)], 9)).shape == (16, 16, 4)


@pytest.mark.parametrize(("size", "side"), [(96, 96), (64, 64), (300, 96)])
def test_shrinking_keeps_small_images_and_mean_values(size, side):
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    small = shrink(image, 96)
    assert small.shape == (side, side, 3)
    assert np.allclose(small.mean((0, 1)), image.mean((0, 1)), atol=1)


def test_rectangles_keep_their_shape():
    image = np.full((100, 200, 3), 90, np.uint8)
    small = shrink(image, 40)
    assert small.shape == (20, 40, 3)
    opacity = decode(contact_sheet([small, None, small], 2))[..., 3]
    assert opacity.shape == (42, 82)
    assert (opacity[:20, :40] == 255).all() and (opacity[22:, :40] == 255).all()
    assert (opacity[:, 42:] == 0).all()

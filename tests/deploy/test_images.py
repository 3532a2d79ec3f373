"""Decoded pixels of every kind of image."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from finch_runtime import images as images_module
from finch_runtime.errors import RuntimeProblem
from finch_runtime.fit import FITS
from finch_runtime.images import load_image
from PIL import Image

from tests.deploy.drawn_images import encoded, noise

# EXIF 2.32, tag 0x0112: what has to be done to the stored pixels to see the scene upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.transpose(1, 0, 2), 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("fit", FITS)
def test_gray_is_that_of_pillow(fit: str) -> None:
    photo = Image.fromarray(noise(50, 31, 3))
    gray = photo.convert("L")
    found = load_image(encoded(photo), 16, fit, channels=1)
    # A camera without colors gives the same pixels, in whichever mode its files are.
    for mode in ("L", "RGB"):
        assert np.array_equal(found, load_image(encoded(gray.convert(mode)), 16, fit, channels=1))
    if fit == "stretch":
        expected = gray.resize((16, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(found, np.asarray(expected)[..., np.newaxis])
    with pytest.raises(RuntimeProblem, match="channels: 2"):
        load_image(encoded(photo), 16, fit, channels=2)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("fit", FITS)
def test_exif_orientation_is_applied(orientation: int, fit: str) -> None:
    stored = noise(20, 31, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = load_image(encoded(Image.fromarray(stored), exif=exif), 13, fit)
    upright = np.ascontiguousarray(UPRIGHT[orientation](stored))
    assert np.array_equal(turned, load_image(encoded(Image.fromarray(upright)), 13, fit))


def test_a_jpeg_from_a_phone_held_upright() -> None:
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32, 0] = 255  # red on the left of the sensor: on top of the upright picture
    exif = Image.Exif()
    exif[0x0112] = 6
    result = load_image(encoded(Image.fromarray(stored), "JPEG", exif=exif), 32, "stretch")
    assert result[:12, :, 0].min() > 240 and result[20:, :, 0].max() < 15


def test_orientation_is_applied_despite_a_damaged_exif_entry() -> None:
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHIi", 0x8769, 9, 1, -5)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
    stored = noise(16, 16, 3)
    file = encoded(Image.fromarray(stored), exif=exif)
    assert np.array_equal(load_image(file, 16, "crop"), np.rot90(stored, -1))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_orientation_is_applied_once_in_every_format(orientation: int, kind: str) -> None:
    stored = np.zeros((64, 64, 3), np.uint8)
    stored[:, :32, 0] = 255
    stored[:32, :, 1] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = load_image(encoded(Image.fromarray(stored), kind, exif=exif.tobytes()), 64, "crop")
    expected = UPRIGHT[orientation](stored)
    for rows in (slice(4, 28), slice(36, 60)):
        for columns in (slice(4, 28), slice(36, 60)):
            difference = result[rows, columns].astype(int) - expected[rows, columns]
            assert np.abs(difference).max() < 40


def test_transparency_is_composited_on_white() -> None:
    pixels = noise(16, 16, 4)
    alpha = pixels[..., 3:] / 255
    expected = alpha * pixels[..., :3] + (1 - alpha) * 255
    result = load_image(encoded(Image.fromarray(pixels, "RGBA")), 16, "crop")
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_color_becomes_white(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (0, 0, 0))
    image.paste((200, 200, 200), (0, 0, 8, 4))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    black = image.getpixel((0, 7))
    result = load_image(encoded(image, transparency=black), 8, "crop")
    assert (result[:4] == 200).all() and (result[4:] == 255).all()


def test_a_palette_gives_its_colors() -> None:
    colors = noise(5, 3)
    indices = noise(16, 16) % 5
    image = Image.fromarray(indices, "P")
    image.putpalette(colors.tobytes())
    assert np.array_equal(load_image(encoded(image), 16, "crop"), colors[indices])


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (32, 32)).astype(np.uint16)
    wide[0, :2] = (0, 65535)
    for kind in ("PNG", "TIFF"):
        result = load_image(encoded(Image.fromarray(wide), kind), 32, "crop")
        assert np.array_equal(result[..., 1], np.rint(wide / 257))
        assert (result == result[..., :1]).all()


def test_cmyk_is_converted_to_rgb() -> None:
    cyan, magenta, yellow, black = 200, 30, 90, 60
    file = encoded(Image.new("CMYK", (16, 16), (cyan, magenta, yellow, black)), "JPEG", quality=100)
    expected = [(255 - ink) * (255 - black) / 255 for ink in (cyan, magenta, yellow)]
    assert np.abs(load_image(file, 8, "crop") - np.array(expected)).max() <= 3


def test_one_bit_images_are_black_and_white() -> None:
    bits = noise(16, 16) > 127
    result = load_image(encoded(Image.fromarray(bits)), 16, "crop")
    assert np.array_equal(result, np.repeat(bits[..., None] * np.uint8(255), 3, axis=2))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (load_image(file, 8, "crop") == (255, 0, 0)).all()


def test_an_open_file_stays_open() -> None:
    file = encoded(Image.fromarray(noise(8, 8, 3)))
    first = load_image(file, 8, "crop")
    assert not file.closed
    assert np.array_equal(load_image(file, 8, "crop"), first)


MODES = {
    "RGBA": noise(50, 70, 4),
    "LA": noise(50, 70, 2),
    "L": noise(50, 70),
    "I;16": np.random.default_rng(0).integers(0, 65536, (50, 70), dtype=np.uint16),
}


@pytest.mark.parametrize("mode", [*MODES, "P", "1", "CMYK", "transparent P", "transparent RGB"])
def test_conversion_by_tiles_changes_no_pixel(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode in MODES:
        file = encoded(Image.fromarray(MODES[mode]))
    else:
        *transparent, name = mode.split()
        image = Image.fromarray(noise(50, 70, 3)).convert(name)
        color = image.getpixel((3, 3))
        options = {"transparency": color} if transparent else {}
        file = encoded(image, "JPEG" if mode == "CMYK" else "PNG", **options)
    whole = load_image(file, 31, "crop")
    monkeypatch.setattr(images_module, "_TILE", 16)
    assert np.array_equal(load_image(file, 31, "crop"), whole)

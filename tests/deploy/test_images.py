"""Decoded pixels against closed forms."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finch_runtime import images as images_module
from finch_runtime.errors import RuntimeProblem
from finch_runtime.fit import FITS
from finch_runtime.image_size import image_size
from finch_runtime.images import MAX_PIXELS, load_image, load_inputs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.damaged_images import encode, many_scans, tiled_tiff

Array = np.ndarray[Any, Any]

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


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


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


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


JPEG = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG").getvalue()
PNG = encoded(Image.fromarray(noise(64, 64, 3))).getvalue()
FURTHER = [encode(Image.fromarray(noise(64, 64, 3)), kind) for kind in ("TIFF", "AVIF", "HEIF")]
FLOAT_TIFF = encoded(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF").getvalue()
EPS = encoded(Image.fromarray(noise(8, 8, 3)), "EPS").getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(JPEG[: len(JPEG) // 2], "truncated", id="half a jpeg"),
        pytest.param(PNG[: len(PNG) // 2], "cannot be decoded", id="half a png"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "not an image", id="a web page"),
        pytest.param(b"", "not an image", id="nothing"),
        pytest.param(EPS, "not an image", id="a program for Ghostscript"),
        pytest.param(png_of_size(10_000, 10_000), "10000 x 10000", id="a bomb"),
        pytest.param(png_of_size(60_000, 60_000), "too many pixels", id="a larger bomb"),
        pytest.param(FLOAT_TIFF, "floating-point", id="floating point"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore::finch_runtime.images.SuffixWarning")
def test_unusable_files_are_rejected_by_name(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(RuntimeProblem) as caught:
        load_image(path, 32, "crop")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and expected in message
    assert "\n" not in message


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeProblem, match="no such file"):
        load_image(tmp_path / "missing.jpg", 8, "crop")
    with pytest.raises(RuntimeProblem, match="is a folder"):
        load_image(tmp_path, 8, "crop")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    ],
)
def test_a_pipe_and_a_device_are_not_read(make: Any, expected: str, tmp_path: Path) -> None:
    make(tmp_path / "photo.jpg")
    with pytest.raises(RuntimeProblem, match=expected):
        load_image(tmp_path / "photo.jpg", 8, "crop")


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg", "x" * 300, ""])
def test_an_impossible_name_is_a_problem(name: str) -> None:
    with pytest.raises(RuntimeProblem):
        load_image(name, 8, "crop")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(many_scans(1000, 1900), r"1,906 scans of 1000 x 1000", id="scans"),
        pytest.param(tiled_tiff(16, 30_000, b"x" * 99), r"tiles of 900 MB", id="tiles"),
        pytest.param(b"P6 1001 1000 100\n", r"more than 1,000,000 in PPM", id="slow"),
    ],
)
def test_what_takes_too_much_is_refused(content: bytes, expected: str) -> None:
    with pytest.raises(RuntimeProblem, match=expected):
        load_image(io.BytesIO(content), 8, "crop")


def test_decoders_that_need_more_memory_get_fewer_pixels() -> None:
    content = bytearray(encode(Image.new("L", (9, 9)), "JPEG2000"))
    struct.pack_into(">II", content, content.index(b"ihdr") + 4, 2000, 16_000)
    with pytest.raises(RuntimeProblem, match=r"16000 x 2000 pixels, more than .* in JPEG2000"):
        load_image(io.BytesIO(content), 8, "crop")
    wide = Image.new("L", (16_000, 2900))
    with pytest.raises(RuntimeProblem, match=r"16000 x 2900 pixels, more than .* in WEBP"):
        load_image(encoded(wide, "WEBP", method=0), 8, "crop")
    assert load_image(encoded(wide, "PNG"), 8, "crop").shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_formats_of_phones_get_as_many_pixels_as_their_decoders_leave_room_for(kind: str) -> None:
    for mode, sides in (("RGB", (8200, 6200)), ("RGBA", (6200, 5000))):
        content = bytearray(encode(Image.new(mode, (64, 64)), kind))
        place = 0
        while (place := content.find(b"ispe", place + 1)) > 0:  # of the image and of its alpha
            struct.pack_into(">II", content, place + 8, *sides)
        with pytest.raises(RuntimeProblem, match=rf"{sides[0]} x {sides[1]} pixels.* in {kind}"):
            load_image(io.BytesIO(content), 8, "crop")


def jpeg_of_size(side: int, mode: str, **options: Any) -> bytes:
    """A JPEG file whose header declares a square."""
    content = bytearray(encode(Image.new(mode, (64, 64)), "JPEG", **options))
    marker = b"\xff\xc2" if options.get("progressive") else b"\xff\xc0"
    struct.pack_into(">HH", content, content.index(marker) + 5, side, side)
    return bytes(content)


def test_progressive_files_get_as_many_pixels_as_their_coefficients_leave_room_for() -> None:
    # Two bytes per sample: four of CMYK, three of RGB, one and a half with subsampled colors.
    options = {"progressive": True, "subsampling": 0}
    for mode, side in (("CMYK", 7800), ("RGB", 8600)):
        with pytest.raises(RuntimeProblem, match=rf"{side} x {side} pixels.* progressive JPEG"):
            load_image(io.BytesIO(jpeg_of_size(side, mode, **options)), 8, "crop")
    for content in (
        jpeg_of_size(7600, "CMYK", **options),
        jpeg_of_size(8400, "RGB", **options),
        jpeg_of_size(9400, "RGB", progressive=True, subsampling=2),
        jpeg_of_size(9400, "CMYK", subsampling=0),
    ):
        file = io.BytesIO(content)
        images_module._check_cost("photo.jpg", Image.open(file), file)


def test_a_photograph_of_a_phone_is_checked_like_a_jpeg_file() -> None:
    photo = Image.new("RGB", (64, 64))
    options = {"save_all": True, "append_images": [photo], "progressive": True, "subsampling": 0}
    content = bytearray(encode(photo, "MPO", **options))
    assert load_image(io.BytesIO(content), 8, "crop").shape == (8, 8, 3)
    struct.pack_into(">HH", content, content.index(b"\xff\xc2") + 5, 9000, 9000)
    with pytest.raises(RuntimeProblem, match="progressive JPEG"):
        load_image(io.BytesIO(content), 8, "crop")


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "photo.webp").open("wb") as file:
        file.write(b"RIFF\xf0\xff\xff\xffWEBPVP8 ")
        file.truncate(8 * MAX_PIXELS + 1)
    with pytest.raises(RuntimeProblem, match="larger than 716 MB"):
        load_image(tmp_path / "photo.webp", 8, "crop")


def test_progressive_and_compressed_images_of_any_usual_size_are_read() -> None:
    photo = Image.new("RGB", (1200, 900), (10, 20, 30))
    for content in (
        encode(photo, "JPEG", progressive=True),
        encode(photo, "TIFF", compression="tiff_lzw", strip_size=1 << 30),
        encode(photo, "TIFF", compression="tiff_adobe_deflate"),
        encode(photo, "PPM"),
        encode(Image.new("I;16", (1200, 900)), "PPM"),
        encode(Image.new("1", (1200, 900)), "PPM"),
        tiled_tiff(512, 512, zlib.compress(bytes(512 * 512))),
    ):
        assert load_image(io.BytesIO(content), 8, "crop").shape == (8, 8, 3)


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


PEAK = """
import resource, sys
from finch_runtime.images import load_image
load_image(sys.argv[1], 8, "crop")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_image(sys.argv[2], 8, "crop")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize(
    ("mode", "kind", "options", "bytes_per_pixel"),
    [
        ("RGB", "JPEG", {}, 5),
        ("RGB", "JPEG", {"progressive": True}, 8),
        ("RGBA", "PNG", {"compress_level": 1}, 11),
        ("LA", "TIFF", {}, 11),
        ("RGB", "AVIF", {"speed": 10}, 16),
        ("RGBA", "AVIF", {"speed": 10}, 25),
    ],
)
def test_memory_of_a_decoded_image(
    mode: str, kind: str, options: dict[str, Any], bytes_per_pixel: int, tmp_path: Path
) -> None:
    pixels = 4000 * 3000
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    Image.new(mode, (4000, 3000)).save(tmp_path / "large", kind, **options)
    # A child's peak includes the memory of the process that starts it, so a small one starts it.
    line = [sys.executable, "-c", PEAK, str(tmp_path / "small.png"), str(tmp_path / "large")]
    start = [sys.executable, "-c", f"import subprocess; subprocess.run({line!r}, check=True)"]
    done = subprocess.run(start, capture_output=True, text=True, check=True)
    assert int(done.stdout) < bytes_per_pixel * pixels


@settings(max_examples=150, deadline=None)
@given(
    whole=st.sampled_from([JPEG, PNG, *FURTHER]),
    cut=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_no_other_error(
    whole: bytes, cut: float, damage: list[tuple[float, int]]
) -> None:
    content = bytearray(whole)
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    file = io.BytesIO(bytes(content[: int(cut * len(content)) + 1]))
    with contextlib.suppress(RuntimeProblem):
        assert load_image(file, 16, "crop").shape == (16, 16, 3)


@pytest.mark.parametrize(("size", "fit"), [(0, "crop"), (8, "squash")])
def test_an_invalid_size_or_fit_is_rejected(size: int, fit: str) -> None:
    with pytest.raises(RuntimeProblem):
        load_image(io.BytesIO(PNG), size, fit)


@pytest.mark.parametrize("source", [np.zeros((8, 8, 3), np.uint8), b"\xff\xd8", None])
def test_what_is_no_file_is_refused_by_its_type(source: Any) -> None:
    with pytest.raises(RuntimeProblem, match=f"is of type {type(source).__name__}, neither a path"):
        load_image(source, 8, "crop")

"""Files that cannot be decoded, or would take too much memory or time."""

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
from finch_runtime.images import MAX_PIXELS, load_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.damaged_images import encode, many_scans, tiled_tiff
from tests.deploy.drawn_images import encoded, noise


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


@pytest.mark.parametrize("source", [np.zeros((8, 8, 3), np.uint8), b"\xff\xd8", None])
def test_what_is_no_file_is_refused_by_its_type(source: Any) -> None:
    with pytest.raises(RuntimeProblem, match=f"is of type {type(source).__name__}, neither a path"):
        load_image(source, 8, "crop")

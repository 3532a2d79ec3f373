import hashlib
import io
import os
import struct

import numpy as np
import pytest
from finch_runtime.fit import FITS
from finch_runtime.images import SuffixWarning, load_image
from PIL import Image

from pipeline.data.decoding_checks import (
    MAX_BYTES,
    MIN_SIDE,
    decode_image,
)
from pipeline.data.sources import Sample
from tests.damaged_images import KINDS, draw, encode, write_damaged

SIZE = 32
RNG = np.random.default_rng(1)


def look(path, size=SIZE, fit="crop"):
    return decode_image(Sample(path, path.name, 0), size, fit)


def write(path, content):
    path.write_bytes(content)
    return path


def bits_apart(one, other):
    return int(
        np.bitwise_count(one.record["perceptual_hash"] ^ other.record["perceptual_hash"]).sum()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_unusable_and_raise_no_exception(tmp_path, kind):
    paths = write_damaged(tmp_path, kind)
    assert paths
    taken = [path.name for path in paths if not look(path).problem]
    assert taken == []


def test_there_are_hundreds_of_damaged_files_of_many_kinds(tmp_path):
    counts = [len(write_damaged(tmp_path, kind)) for kind in KINDS]
    assert sum(counts) >= 200
    assert len(counts) >= 10


GOOD = {
    "JPEG": ("a.JPG", draw(RNG), "JPEG", {}),
    "progressive": ("a.jpeg", draw(RNG), "JPEG", {"progressive": True}),
    "CMYK": ("a.jpg", draw(RNG).convert("CMYK"), "JPEG", {}),
    "gray": ("a.png", draw(RNG).convert("L"), "PNG", {}),
    "palette": ("a.png", draw(RNG).convert("P"), "PNG", {}),
    "alpha": ("a.png", draw(RNG).convert("RGBA"), "PNG", {}),
    "bilevel": ("a.tif", draw(RNG).convert("1"), "TIFF", {}),
    "16 bits": (
        "a.png",
        Image.fromarray(RNG.integers(0, 65536, (30, 40), dtype=np.uint16)),
        "PNG",
        {},
    ),
    "still GIF": ("a.gif", draw(RNG), "GIF", {}),
    "WebP": ("a.webp", draw(RNG), "WEBP", {}),
    "AVIF": ("a.avif", draw(RNG), "AVIF", {}),
    "HEIF": ("a.HEIC", draw(RNG), "HEIF", {}),
    "smallest": ("a.bmp", draw(RNG, MIN_SIDE, MIN_SIDE), "BMP", {}),
    "unknown suffix": ("a.sample", draw(RNG), "PNG", {}),
    "turned": (
        "a.jpg",
        draw(RNG),
        "JPEG",
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
    ),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", GOOD)
def test_an_image_is_decoded_as_on_the_device(tmp_path, kind, fit):
    name, image, form, options = GOOD[kind]
    path = write(tmp_path / name, encode(image, form, **options))
    seen = look(path, fit=fit)
    assert not seen.problem
    assert np.array_equal(seen.pixels, load_image(path, SIZE, fit))
    assert tuple(seen.record["size"]) == image.size
    assert seen.record["file_hash"].tobytes() == hashlib.sha256(path.read_bytes()).digest()


def test_the_record_depends_on_the_image_alone(tmp_path):
    rng = np.random.default_rng(2)
    for number, shape in enumerate(((80, 20), (200, 300), (64, 64))):
        path = write(tmp_path / f"{number}.png", encode(draw(rng, *shape), "PNG"))
        records = [look(path, size, fit).record for size in (32, (48, 64), 160) for fit in FITS]
        assert len({record.tobytes() for record in records}) == 1


@pytest.mark.parametrize("shape", [(80, 20), (20, 80)])
def test_images_of_one_shape_have_nothing_in_common(tmp_path, shape):
    rng = np.random.default_rng(2)
    one, other = (
        look(write(tmp_path / f"{n}.png", encode(draw(rng, *shape), "PNG")), fit="pad")
        for n in range(2)
    )
    assert bits_apart(one, other) > 64


def test_bars_hide_neither_blank_nor_dark_images(tmp_path):
    wide = write(tmp_path / "white.png", encode(Image.new("RGB", (80, 20), "white"), "PNG"))
    dark = write(tmp_path / "dark.png", encode(Image.new("RGB", (20, 80), (9, 9, 9)), "PNG"))
    assert look(wide, fit="pad").record["contrast"] == 0
    assert look(dark, fit="pad").record["brightness"] == 9


def test_a_multi_picture_jpeg_of_a_phone_is_usable(tmp_path):
    first, second = draw(RNG), draw(RNG, 20, 20)
    path = tmp_path / "portrait.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    seen = look(path)
    assert not seen.problem
    alone = look(write(tmp_path / "alone.jpg", encode(first, "JPEG")))
    assert bits_apart(seen, alone) == 0


def test_a_file_with_the_suffix_of_another_format_is_read_by_its_content(tmp_path):
    for form in ("PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF"):
        content = encode(draw(RNG), form)
        path = write(tmp_path / f"{form}.jpg", content)
        seen = look(path)
        assert not seen.problem
        assert form in seen.remark and "JPEG" in seen.remark
        with pytest.warns(SuffixWarning, match=form):
            expected = load_image(path, SIZE, "crop")
        assert np.array_equal(seen.pixels, expected)
    assert not look(write(tmp_path / "right.JPEG", encode(draw(RNG), "JPEG"))).remark
    assert not look(write(tmp_path / "no_suffix", encode(draw(RNG), "PNG"))).remark
    frames = encode(draw(RNG), "GIF", save_all=True, append_images=[draw(RNG)])
    assert "2 frames" in look(write(tmp_path / "animated.jpg", frames)).problem


def test_what_cameras_append_to_a_photograph_changes_nothing(tmp_path):
    photo = encode(draw(RNG), "JPEG")
    expected = look(write(tmp_path / "photo.jpg", photo))
    for number, more in enumerate((bytes(5000), b"\0\0\0\x18ftypmp42" + RNG.bytes(9000), photo)):
        seen = look(write(tmp_path / f"{number}.jpg", photo + more))
        assert not seen.problem
        assert np.array_equal(seen.pixels, expected.pixels)


def test_zeros_in_place_of_the_end_of_a_photograph_are_found(tmp_path):
    photo = encode(draw(RNG), "JPEG")
    for missing in (100, 300, 600):
        path = write(tmp_path / f"{missing}.jpg", photo[:-missing] + bytes(missing))
        assert "truncated" in look(path).problem


def test_previews_in_a_tiff_file_are_not_pages(tmp_path):
    image, preview = draw(RNG), draw(RNG, 20, 20)
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    path = tmp_path / "scan.tif"
    image.save(path, save_all=True, append_images=[preview])
    with Image.open(path) as opened:
        assert opened.n_frames == 2
    assert not look(path).problem
    image.save(path, save_all=True, append_images=[draw(RNG)])
    assert "2 frames" in look(path).problem


def test_problems_name_the_cause(tmp_path):
    assert look(write(tmp_path / "b.png", b"")).problem == "is empty"
    assert "3 frames" in look(write_damaged(tmp_path, "animated")[0]).problem
    assert "1 x 1 pixels" in look(write_damaged(tmp_path, "tiny")[0]).problem
    assert "no such file" in look(tmp_path / "none.jpg").problem.lower()


def test_pages_are_not_counted_to_the_end(tmp_path):
    pages, side = 20_000, 8
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 64))
    page = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", t, 4, 1, v) for t, v in tags
    )
    first, length = 8 + side**2, len(page) + 4
    following = [*(first + length * number for number in range(1, pages)), 0]
    content = struct.pack("<4sI", b"II*\0", first) + bytes(side**2)
    content += b"".join(page + struct.pack("<I", place) for place in following)
    assert "has 100 or more frames" in look(write(tmp_path / "a.tif", content)).problem


def test_a_pipe_a_folder_and_a_huge_file_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name in ("pipe.jpg", "folder.jpg"):
        assert look(tmp_path / name).problem == "is not a file"
    assert "bytes, more than" in look(tmp_path / "huge.jpg").problem


def test_a_sample_with_content_is_read_from_it(tmp_path):
    content = encode(draw(RNG), "PNG")
    # Its path says nothing of the bytes: here it is the name of a table.
    made = decode_image(
        Sample(tmp_path / "rows.jpg", "row 3", 0, content=lambda: content), SIZE, "crop"
    )
    assert not made.problem
    assert np.array_equal(made.pixels, load_image(io.BytesIO(content), SIZE, "crop"))


def test_content_that_raises_makes_an_unreadable_image(tmp_path):
    def fail():
        raise KeyError("row 3")

    assert "row 3" in decode_image(Sample(tmp_path, "row 3", 0, content=fail), SIZE, "crop").problem


def test_one_image_saved_twice_without_loss_has_one_pixel_hash(tmp_path):
    image = draw(RNG)
    as_png, as_bmp = (
        look(write(tmp_path / f"a.{form.lower()}", encode(image, form))) for form in ("PNG", "BMP")
    )
    other = look(write(tmp_path / "b.png", encode(draw(RNG), "PNG")))
    files, pixels = (
        [image.record[name].tobytes() for image in (as_png, as_bmp, other)]
        for name in ("file_hash", "pixel_hash")
    )
    assert files[0] != files[1]
    assert pixels[0] == pixels[1] != pixels[2]


def test_a_copy_saved_with_loss_is_near_and_another_image_is_far(tmp_path):
    image, unlike = (
        Image.fromarray(RNG.integers(0, 256, (20, 25, 3), dtype=np.uint8)).resize((200, 160))
        for _ in range(2)
    )
    one = look(write(tmp_path / "one.png", encode(image, "PNG")), size=96)
    small = image.resize((120, 96), Image.Resampling.BILINEAR)
    copy = look(write(tmp_path / "copy.jpg", encode(small, "JPEG", quality=60)), size=96)
    other = look(write(tmp_path / "other.png", encode(unlike, "PNG")), size=96)
    assert bits_apart(one, copy) <= 16
    assert bits_apart(one, other) > 64


def test_an_image_of_one_color_has_no_contrast(tmp_path):
    blank = look(write(tmp_path / "a.png", encode(Image.new("RGB", (40, 40), "teal"), "PNG")))
    assert blank.record["contrast"] == 0
    assert look(write(tmp_path / "b.png", encode(draw(RNG), "PNG"))).record["contrast"] > 10

"""Which files are images, by suffix and by content."""

import os

import numpy as np
import pytest
from finch_runtime import formats
from finch_runtime.images import load_image
from PIL import Image

from pipeline.data.formats import UNREAD_SUFFIXES, classify, readable_suffixes
from tests.damaged_images import draw, encode

IMAGE = draw(np.random.default_rng(0))


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def without_plug_ins(monkeypatch):
    """An installation that reads neither AVIF nor HEIF."""
    names = tuple(name for name in formats.SUFFIXES if name not in ("AVIF", "HEIF"))
    for module in ("finch_runtime.formats", "finch_runtime.images", "pipeline.data.formats"):
        monkeypatch.setattr(f"{module}.readable_formats", lambda: names)
    readable_suffixes.cache_clear()
    yield
    readable_suffixes.cache_clear()


@pytest.mark.parametrize("name", formats.SUFFIXES)
def test_what_is_classified_as_readable_is_read(tmp_path, name):
    saved = {"JPEG2000": "JPEG2000"}.get(name, name)
    content = encode(IMAGE, saved)
    for suffix in (*formats.SUFFIXES[name], ".JPG_large", ""):
        path = write(tmp_path / f"image{suffix}", content)
        assert classify(path) == "readable"
        assert load_image(path, 16, "crop").shape == (16, 16, 3)


@pytest.mark.parametrize("suffix", [".nef", ".CR2", ".dng", ".psd", ".svg", ".dcm", ".tga", ".jxl"])
def test_images_in_other_formats_are_told_from_other_files_by_suffix(tmp_path, suffix):
    assert classify(write(tmp_path / f"image{suffix}", b"anything")) == "image"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.xml", b"<?xml version='1.0'?><annotation/>", "other"),
        ("a.txt", b"BM is not a bitmap", "other"),
        ("a.csv", b"P6 is not a pixmap", "other"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", "other"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0", "other"),
        ("empty", b"", "other"),
        ("._a.jpg", b"\0\5\x16\7", "other"),
        ("drawing", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "image"),
        ("scan", bytes(128) + b"DICM", "image"),
        ("photo", b"\xff\x0a\0\0", "image"),
        ("raw", b"\0\0\0\x18ftypcrx \0\0\0\1", "image"),
        ("cut_off", b"\xff\xd8\xff\xe0", "readable"),
    ],
)
def test_files_without_a_known_suffix_are_told_by_content(tmp_path, name, content, kind):
    assert classify(write(tmp_path / name, content)) == kind


def test_a_pipe_and_an_unreadable_file_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert classify(tmp_path / "pipe") == "other"
    assert classify(tmp_path / "missing") == "other"


def test_without_the_plug_ins_their_formats_are_images_that_are_not_read(
    tmp_path, without_plug_ins
):
    for name, suffix in (("AVIF", ".avif"), ("HEIF", ".heic")):
        content = encode(IMAGE, name)
        assert suffix not in readable_suffixes()
        assert classify(write(tmp_path / f"a{suffix}", content)) == "image"
        assert classify(write(tmp_path / f"{name}_without_suffix", content)) == "image"
    # Sharing changes the content of such a file, but not its name.
    assert classify(write(tmp_path / "b.heic", encode(IMAGE, "JPEG"))) == "readable"


def test_no_suffix_is_both_read_and_not_read():
    assert not UNREAD_SUFFIXES & readable_suffixes()
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in UNREAD_SUFFIXES)


def test_a_photograph_of_an_unknown_size_is_readable(tmp_path):
    large = encode(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    assert classify(write(tmp_path / "large", large)) == "readable"

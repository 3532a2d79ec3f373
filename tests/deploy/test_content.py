"""Files that are no images, or images in formats that are not read, are named by what they are."""

from __future__ import annotations

import io

import pytest
from finch_runtime import images
from finch_runtime.errors import RuntimeProblem
from finch_runtime.formats import SUFFIXES
from PIL import Image

from tests.damaged_images import encode

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 12345\n"

JPEG = encode(Image.new("RGB", (16, 16)), "JPEG")


def refusal(content: bytes) -> str:
    with pytest.raises(RuntimeProblem) as caught:
        images.load_image(io.BytesIO(content), 8, "crop")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(LFS, ["Git LFS pointer", "git lfs pull"], id="Git LFS"),
        pytest.param(
            b"/annex/objects/SHA256E-s1--0.jpg\n", ["git-annex", "git annex get"], id="annex"
        ),
        pytest.param(b"../.git/annex/objects/x/MD5E-s1--0.jpg", ["git-annex"], id="annex link"),
        pytest.param(b"\n <!DOCTYPE html>\n<html>", ["HTML page", "download"], id="HTML"),
        pytest.param(b"<HTML><body>404", ["HTML page"], id="HTML without a type"),
        pytest.param(b'<?xml version="1.0"?><Error/>', ["XML file"], id="XML"),
        pytest.param(b'{"error": "quota"}', ["JSON file"], id="JSON"),
        pytest.param("недоступно\n".encode(), ["text file"], id="text"),
        pytest.param(b"\0\5\x16\7\0\2\0\0Mac OS X", ["AppleDouble"], id="AppleDouble"),
        pytest.param(b"PK\3\4rest", ["ZIP archive"], id="ZIP"),
        pytest.param(b"%PDF-1.7", ["PDF"], id="PDF"),
        pytest.param(bytes(4000), ["zeros"], id="zeros"),
        pytest.param(b"", ["empty"], id="nothing"),
        pytest.param(b"\0\0\0\x18ftypisom", ["video"], id="video"),
        pytest.param(b"8BPS\0\1", ["Photoshop", "convert"], id="Photoshop"),
        pytest.param(b"\0\0\0\x0cJXL \r\n\x87\n", ["JPEG XL", "convert"], id="JPEG XL"),
        pytest.param(bytes(128) + b"DICM", ["DICOM"], id="DICOM"),
        pytest.param(b"FUJIFILMCCD-RAW 0201", ["camera raw"], id="raw"),
        pytest.param(b"<svg width='9'/>", ["SVG"], id="SVG"),
        pytest.param(b"\x89PNG\r\n\x1a\n", ["PNG", "damaged"], id="a signature only"),
        pytest.param(b"\xff\xd8\xff\xf7\0\x0b\x08", ["JPEG-LS", "convert"], id="JPEG-LS"),
        pytest.param(
            JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), ["12 bits"], id="12 bits"
        ),
        pytest.param(bytes(range(1, 255)), ["supported format"], id="unknown"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: bytes, expected: list[str]) -> None:
    message = refusal(content)
    assert "\n" not in message
    for words in expected:
        assert words in message


@pytest.mark.parametrize(("name", "needed"), [("HEIF", "pillow-heif"), ("AVIF", "Pillow 11.3")])
def test_a_format_that_needs_a_package_names_it(
    name: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(Image.new("RGB", (32, 32)), name)
    others = tuple(other for other in SUFFIXES if other not in ("AVIF", "HEIF"))
    assert images.load_image(io.BytesIO(content), 8, "crop").shape == (8, 8, 3)
    monkeypatch.setattr(images, "readable_formats", lambda: others)
    assert name in refusal(content)
    assert needed in refusal(content)

"""The count of scans against the script that an encoder was given."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from finch_runtime.scans import count_scans, has_end, name_kind
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.damaged_images import draw, encode, many_scans


def photo(mode: str = "RGB") -> Image.Image:
    return draw(np.random.default_rng(0)).convert(mode)


# libjpeg's jpeg_simple_progression: 10 scans of YCbCr, 6 of one component.
@pytest.mark.parametrize(
    ("mode", "options", "scans"),
    [
        ("RGB", {}, 1),
        ("L", {}, 1),
        ("CMYK", {}, 1),
        ("RGB", {"progressive": True}, 10),
        ("L", {"progressive": True}, 6),
        ("RGB", {"restart_marker_blocks": 1}, 1),
    ],
)
def test_an_encoders_scans_are_counted(mode: str, options: dict[str, Any], scans: int) -> None:
    assert count_scans(encode(photo(mode), "JPEG", **options)) == scans


def test_a_thumbnail_and_a_second_picture_do_not_count() -> None:
    inner = encode(photo(), "JPEG", progressive=True)
    segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    whole = encode(photo(), "JPEG", progressive=True)
    assert count_scans(whole[:2] + segment + whole[2:] + inner) == 10


@pytest.mark.parametrize("scans", [0, 1, 70, 3000])
def test_added_scans_are_counted(scans: int) -> None:
    assert count_scans(many_scans(64, scans)) == 6 + scans


@given(st.binary() | st.lists(st.sampled_from([0xFF, 0xDA, 0xC2, 0, 1, 8])).map(bytes))
def test_any_bytes_have_a_count(content: bytes) -> None:
    assert 0 <= count_scans(content) <= content.count(b"\xff\xda")


def test_the_decoder_reads_what_was_counted() -> None:
    with Image.open(io.BytesIO(many_scans(64, 70))) as image:
        assert image.convert("L").size == (64, 64)


def test_the_end_marker_is_found_before_what_is_appended() -> None:
    whole = encode(Image.new("RGB", (64, 48), "teal"), "JPEG")
    for content in (whole, whole + bytes(500), whole + b"ftypmp42" * 9, b"".join([whole] * 2)):
        assert has_end(content)
    cut = whole[:-40]
    for content in (cut, cut + bytes(500)):
        assert not has_end(content)


def test_a_kind_that_usual_decoders_do_not_read_is_named() -> None:
    whole = encode(Image.new("RGB", (64, 48), "teal"), "JPEG")
    assert name_kind(whole) == ""
    assert name_kind(whole.replace(b"\xff\xc0", b"\xff\xc3")) == "lossless JPEG"
    assert (
        name_kind(whole.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"))
        == "JPEG with 12 bits"
    )
    assert name_kind(b"\xff\xd8\xff\xf7\0\x0b\x08") == "JPEG-LS"

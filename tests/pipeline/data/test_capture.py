import io
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.capture import read_capture
from pipeline.data.decoding_checks import decode_image
from pipeline.data.sources import Sample
from tests.damaged_images import encode
from tests.exif_images import exif_of

DAY = datetime(2024, 5, 3, 10, 20, 30)
SECONDS = round(DAY.replace(tzinfo=UTC).timestamp())
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
PHONE = {"make": "Maker", "model": "Phone 7"}


def captured(exif, form="JPEG"):
    with Image.open(io.BytesIO(encode(IMAGE, form, exif=exif))) as image:
        return read_capture(image)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_time_and_camera_are_read_from_every_format_that_has_them(form):
    exif = exif_of(DAY, **PHONE, serial="0042")
    time, camera = captured(exif, form)
    assert time == SECONDS
    assert 0 < camera < 2**64
    assert camera == captured(exif)[1], "the format makes another camera"


def test_the_original_time_is_preferred():
    later, latest = DAY.replace(day=4), DAY.replace(day=5)
    assert captured(exif_of(DAY, digitized=later, changed=latest))[0] == SECONDS
    assert captured(exif_of(digitized=DAY, changed=latest))[0] == SECONDS
    assert captured(exif_of("0000:00:00 00:00:00", digitized=DAY))[0] == SECONDS


def test_the_last_change_of_a_file_is_no_capture_time():
    assert captured(exif_of(changed=DAY))[0] == 0


def test_cameras_are_told_by_make_model_and_serial_number():
    texts = [("a", "", ""), ("", "a", ""), ("", "", "a"), ("a", "b", "1"), ("a", "b", "2")]
    cameras = [
        captured(exif_of(make=make, model=model, serial=serial))[1] for make, model, serial in texts
    ]
    assert len(set(cameras)) == len(texts)
    assert captured(exif_of(make="a ", model="b\0"))[1] == captured(exif_of(make="a", model="b"))[1]


@pytest.mark.parametrize(
    "text",
    ["", "0000:00:00 00:00:00", "    :  :     :  :  ", "2024:13:45 10:00:00", "yesterday"],
)
def test_a_time_that_is_none_is_unknown(text):
    assert captured(exif_of(text, **PHONE))[0] == 0


def test_the_clock_of_a_camera_that_was_never_set_is_unknown():
    assert captured(exif_of("1970:01:01 00:00:00"))[0] == 0


def test_an_image_without_exif_data_is_unknown(tmp_path):
    for form in ("JPEG", "PNG", "BMP"):
        with Image.open(io.BytesIO(encode(IMAGE, form))) as image:
            assert read_capture(image) == (0, 0)


def test_a_png_file_without_exif_data_is_not_decoded_for_it(monkeypatch):
    with Image.open(io.BytesIO(encode(IMAGE, "PNG"))) as image:
        monkeypatch.setattr(type(image), "load", lambda self: pytest.fail("was decoded"))
        assert read_capture(image) == (0, 0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.data())
def test_damaged_exif_data_is_unknown_and_the_image_usable(data):
    whole = exif_of(DAY, **PHONE, serial="0042").tobytes()
    damaged = bytearray(whole[: data.draw(st.integers(6, len(whole)))])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(6, len(damaged) - 1)) if len(damaged) > 6 else 5
        damaged[place] = data.draw(st.integers(0, 255))
    content = encode(IMAGE, "JPEG", exif=bytes(damaged))
    with Image.open(io.BytesIO(content)) as image:
        time, camera = read_capture(image)
    assert time >= 0 and 0 <= camera < 2**64


def test_the_record_of_a_decoded_image_has_both(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(encode(IMAGE, "JPEG", exif=exif_of(DAY, **PHONE)))
    record = decode_image(Sample(path, path.name, 0), 32, "crop").record
    assert record["capture_time"] == SECONDS
    assert record["camera"] == captured(exif_of(**PHONE))[1]

    content = encode(IMAGE, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    path.write_bytes(content)
    found = decode_image(Sample(path, path.name, 0), 32, "crop")
    assert found.problem == ""
    assert (found.record["capture_time"], found.record["camera"]) == (0, 0)

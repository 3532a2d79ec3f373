"""TIFF files of scanners, microscopes and industrial cameras."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.images import load_image
from PIL import Image

SIDE = 16
Array = np.ndarray[Any, Any]


def tiff_of(data: bytes, bits: tuple[int, ...], order: str = "<", **tags: int) -> io.BytesIO:
    """An uncompressed TIFF of one page with ``SIDE`` x ``SIDE`` pixels."""
    planes = len(bits) if tags.get("planes") == 2 else 1
    step = len(data) // planes
    values: dict[int, tuple[int, ...]] = {
        256: (SIDE,),
        257: (SIDE,),
        258: bits,
        259: (1,),
        262: (tags.get("photometric", 2 if len(bits) > 2 else 1),),
        273: tuple(8 + step * plane for plane in range(planes)),
        277: (len(bits),),
        278: (SIDE,),
        279: (step,) * planes,
        284: (tags.get("planes", 1),),
    }
    place = 8 + len(data) + 2 + 12 * len(values) + 4
    entries = more = b""
    for tag, numbers in values.items():
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            more, packed = more + packed, struct.pack(f"{order}I", place + len(more))
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + packed
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return io.BytesIO(
        start + data + struct.pack(f"{order}H", len(values)) + entries + bytes(4) + more
    )


def load(file: io.BytesIO) -> Array:
    return load_image(file, SIDE, "crop")


GRAY = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint16)
COLOR = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_in_both_byte_orders(order: str) -> None:
    gray = tiff_of((GRAY * 257).astype(f"{order}u2").tobytes(), (16,), order)
    assert np.array_equal(load(gray)[..., 0], GRAY)
    color = tiff_of((COLOR * 257).astype(f"{order}u2").tobytes(), (16, 16, 16), order)
    assert np.array_equal(load(color), COLOR)


def test_zero_can_be_white() -> None:
    eight = tiff_of((255 - GRAY).astype(np.uint8).tobytes(), (8,), photometric=0)
    sixteen = tiff_of((65535 - GRAY * 257).astype("<u2").tobytes(), (16,), photometric=0)
    for file in (eight, sixteen):
        assert np.array_equal(load(file)[..., 0], GRAY)


def test_twelve_packed_bits_have_their_own_range() -> None:
    wide = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE // 2, 2))
    first, second = wide[..., 0], wide[..., 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    result = load(tiff_of(packed.astype(np.uint8).tobytes(), (12,)))
    assert np.array_equal(result[..., 0], np.rint(wide.reshape(SIDE, SIDE) * 255 / 4095))


def test_separate_planes_are_read_with_eight_bits_and_refused_with_sixteen() -> None:
    planes = COLOR.transpose(2, 0, 1)
    eight = tiff_of(planes.astype(np.uint8).tobytes(), (8, 8, 8), planes=2)
    assert np.array_equal(load(eight), COLOR)
    sixteen = tiff_of((planes * 257).astype("<u2").tobytes(), (16, 16, 16), planes=2)
    with pytest.raises(RuntimeProblem, match="separate planes"):
        load(sixteen)


def test_a_number_of_channels_that_no_color_has_is_refused_by_name() -> None:
    bands = np.zeros((SIDE, SIDE, 5), np.uint8)
    with pytest.raises(RuntimeProblem, match="TIFF with 5 channels of 8 bits"):
        load(tiff_of(bands.tobytes(), (8,) * 5, photometric=1))
    with pytest.raises(RuntimeProblem, match="damaged"):
        load(io.BytesIO(tiff_of(bands.tobytes(), (8,) * 5).getvalue()[:500]))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int, compression: str) -> None:
    image = Image.fromarray(COLOR.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    results = []
    for kind, options in (("TIFF", {"compression": compression}), ("PNG", {})):
        file = io.BytesIO()
        image.save(file, kind, exif=exif, **options)
        results.append(load(file))
    assert np.array_equal(*results)

"""Damaged and unusable image files of 22 kinds, as they occur in practice."""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

register_heif_opener()

_FORMATS = {
    **{"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tif": "TIFF"},
    **{"avif": "AVIF", "heic": "HEIF"},
}


def draw(rng: np.random.Generator, width: int = 60, height: int = 44) -> Image.Image:
    """Smooth colors with a little noise, so that no encoder makes the file tiny."""
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + rng.integers(-12, 13, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _truncated(form: str) -> Callable[[np.random.Generator], Iterator[tuple[str, bytes]]]:
    suffix = next(suffix for suffix, name in _FORMATS.items() if name == form)

    def make(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
        for _ in range(20):
            whole = encode(draw(rng), form)
            # More than a trailer is cut off: a GIF is complete without its last two bytes.
            yield suffix, whole[: int(rng.integers(1, len(whole) - 12))]

    return make


def _empty(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for suffix in _FORMATS:
        yield suffix, b""


def _saved_error_page(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for status in (403, 404, 429, 500, 503):
        yield "jpg", f"<!DOCTYPE html><html><title>{status}</title></html>".encode()


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for side in (10_000, 65_000, 2**31 - 1):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        parts = [_png_chunk(b"IHDR", header), _png_chunk(b"IDAT", zlib.compress(bytes(1000)))]
        yield "png", b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _png_chunk(b"IEND", b"")
    jpeg = bytearray(encode(draw(rng), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65_500, 65_500)
    yield "jpg", bytes(jpeg)
    gif = bytearray(encode(draw(rng), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "gif", bytes(gif)
    bmp = bytearray(encode(draw(rng), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    yield "bmp", bytes(bmp)


def _animated(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for suffix in ("gif", "png", "webp", "tif"):
        frames = [draw(rng) for _ in range(3)]
        yield suffix, encode(frames[0], _FORMATS[suffix], save_all=True, append_images=frames[1:])


def _tiny(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for width, height in ((1, 1), (1, 500), (500, 1), (7, 7), (7, 300)):
        yield "png", encode(draw(rng, width, height), "PNG")
        yield "jpg", encode(draw(rng, width, height), "JPEG")


def _tiff_of(width: float, height: float) -> bytes:
    """A TIFF whose width and height are floating-point numbers."""
    entries = [(256, 11, struct.pack("<f", width)), (257, 11, struct.pack("<f", height))]
    entries += [
        (tag, 3, struct.pack("<HH", value, 0))
        for tag, value in ((258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64))
    ]
    packed = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + bytes(64)


def _impossible_sides(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for width, height in ((math.nan, 8), (8, math.nan), (math.inf, 8), (-8, 8), (0, 0), (1e30, 1)):
        yield "tif", _tiff_of(width, height)


def _noise_after_header(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for suffix, form in _FORMATS.items():
        for _ in range(3):
            yield suffix, encode(draw(rng), form)[:12] + rng.bytes(4000)


def _other_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("image.jpg", encode(draw(rng), "JPEG"))
    yield "png", archive.getvalue()
    yield "jpg", pickle.dumps({"pixels": [1, 2, 3]})
    yield "png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    yield "jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    yield "jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    yield "jpg", "кошка\n".encode()
    yield "jpg", b"\xff\xd8\xff\xd9"
    yield "png", b"\x89PNG\r\n\x1a\n"


def _zeros_at_the_end(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """As an interrupted download with preallocated space leaves them."""
    for suffix in ("jpg", "png"):
        for _ in range(8):
            whole = encode(draw(rng), _FORMATS[suffix])
            kept = int(rng.integers(200, len(whole) - 20))
            yield suffix, whole[:kept] + bytes(len(whole) - kept)


def _flipped_bits(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for _ in range(8):
        whole = bytearray(encode(draw(rng), "PNG"))
        whole[int(rng.integers(60, len(whole) - 30))] ^= 1 << int(rng.integers(8))
        yield "png", bytes(whole)


def _float_pixels(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Floating-point pixels, whose range is unknown."""
    for scale in (1.0, 1e6, math.nan):
        field = (rng.random((20, 30)) * scale).astype(np.float32)
        yield "tif", encode(Image.fromarray(field), "TIFF")


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG with ``scans`` more scans than the usual ones; each is 10 bytes long."""
    whole = encode(Image.new("L", (side, side), 100), "JPEG", progressive=True)
    empty_scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x10"
    return whole[:-2] + empty_scan * scans + whole[-2:]


def _many_scans(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    yield "jpg", many_scans(1000, 2000)


def _slow_portable_pixels(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Pillow decodes these formats in Python."""
    side = 1100
    yield "ppm", b"P6 %d %d 100\n" % (side, side) + bytes(3 * side**2)
    yield "pgm", b"P5 %d %d 60000\n" % (side, side) + bytes(2 * side**2)
    yield "pgm", b"P2 %d %d 255\n" % (side, side) + b"1 " * side**2


def tiled_tiff(side: int, tile: int, content: bytes) -> bytes:
    """A grayscale TIFF with one deflated tile of ``tile`` x ``tile`` pixels."""
    values = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 284: 1, 322: tile, 323: tile}
    start = 8 + 2 + 12 * 11 + 4
    values |= {324: start, 325: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, values[tag]) for tag in sorted(values))
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4) + content


def _huge_tiles(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    yield "tif", tiled_tiff(16, 32_000, zlib.compress(bytes(1000)))


KINDS: dict[str, Callable[[np.random.Generator], Iterator[tuple[str, bytes]]]] = {
    **{f"truncated {form}": _truncated(form) for form in _FORMATS.values()},
    "empty": _empty,
    "saved error page": _saved_error_page,
    "bomb": _bomb,
    "animated": _animated,
    "tiny": _tiny,
    "impossible sides": _impossible_sides,
    "noise after header": _noise_after_header,
    "other files": _other_files,
    "zeros at the end": _zeros_at_the_end,
    "flipped bits": _flipped_bits,
    "float pixels": _float_pixels,
    "many scans": _many_scans,
    "slow portable pixels": _slow_portable_pixels,
    "huge tiles": _huge_tiles,
}


def write_damaged(folder: Path, kind: str) -> list[Path]:
    """Writes the files of one kind and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (suffix, content) in enumerate(KINDS[kind](np.random.default_rng(0))):
        path = folder / f"{kind.replace(' ', '_')}_{number:02}.{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths

"""The versions that an ONNX file declares, read without the package onnx."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Fields of onnx.ModelProto and onnx.OperatorSetIdProto.
_IR_VERSION, _OPSET_IMPORT = 1, 8
_DOMAIN, _VERSION = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_LARGEST_OPSET_IMPORT = 1 << 16


@dataclass(frozen=True)
class OnnxVersions:
    """Versions of an ONNX file; ``opset`` is that of the standard operators, 0 without any."""

    ir: int
    opset: int


def read_versions(path: Path) -> OnnxVersions | None:
    """Reads the versions of an ONNX file; None if it is not a valid one."""
    ir = opset = 0
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            while file.tell() < end:
                field, wire = divmod(_varint(file), 8)
                if wire == _VARINT:
                    value = _varint(file)
                    ir = value if field == _IR_VERSION else ir
                elif wire == _BYTES:
                    length = _varint(file)
                    following = file.tell() + length
                    if field == _OPSET_IMPORT and length < _LARGEST_OPSET_IMPORT:
                        opset = _standard_opset(file, following) or opset
                    file.seek(following)
                else:
                    _skip_fixed(file, wire)
            complete = file.tell() == end
    except (OSError, ValueError, OverflowError):
        return None
    return OnnxVersions(ir, opset) if complete and ir else None


def _standard_opset(file: BinaryIO, end: int) -> int:
    """Version of an operator set; 0 if it is not the standard one."""
    domain, version = b"", 0
    while file.tell() < end:
        field, wire = divmod(_varint(file), 8)
        if wire == _VARINT:
            value = _varint(file)
            version = value if field == _VERSION else version
        elif wire == _BYTES:
            value_bytes = file.read(_varint(file))
            domain = value_bytes if field == _DOMAIN else domain
        else:
            _skip_fixed(file, wire)
    return version if domain in (b"", b"ai.onnx") else 0


def _skip_fixed(file: BinaryIO, wire: int) -> None:
    if wire not in (_FIXED64, _FIXED32):
        raise ValueError(f"wire type {wire}")
    file.seek(8 if wire == _FIXED64 else 4, 1)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("is truncated")

"""Metadata of an exported ONNX file: its labels, its input, and what it was made from.

The values are JSON in ASCII. Conversions to other precisions and to OpenVINO keep them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finch_runtime.image_size import ImageSize, height_and_width, image_size

from pipeline.errors import ArtifactError
from pipeline.files import parse_artifact
from pipeline.provenance import check_inputs

if TYPE_CHECKING:  # the stages that measure do without torch
    from onnx import ModelProto

    from pipeline.models.classifier import Spec

INPUT = "images"
_LABELS, _INPUT, _MADE_FROM = "finch.labels", "finch.input", "finch.made_from"


@dataclass(frozen=True)
class MadeFrom:
    """What an ONNX file was made from.

    Attributes:
        model: SHA-256 of the weights of the PyTorch model.
        data: Fingerprint of the prepared data that it learned from.
    """

    model: str
    data: str


def input_contract(size: ImageSize, channels: int, fit: str) -> dict[str, Any]:
    """The input of an exported file; ``fit`` is how images get this size (``prepare.fit``)."""
    height, width = height_and_width(size)
    return {
        "name": INPUT,
        "dtype": "uint8",
        "layout": "NHWC",
        "color": "RGB" if channels == 3 else "gray",
        "height": height,
        "width": width,
        "fit": fit,
    }


def describe(spec: Spec, fit: str, made_from: MadeFrom) -> dict[str, str]:
    """Metadata of the file of a classifier, by key; ``fit`` as in ``input_contract``."""
    return {
        _LABELS: json.dumps(spec.classes),
        _INPUT: json.dumps(input_contract(spec.image_size, spec.channels, fit)),
        _MADE_FROM: json.dumps(asdict(made_from)),
    }


def read_made_from(path: Path, **present: str) -> MadeFrom:
    """Reads what an ONNX file was made from.

    Args:
        path: The file.
        present: ``data``, the fingerprint of the prepared data, to compare.

    Raises:
        ArtifactError: The file is missing, damaged, without metadata, or was made from other data.
    """
    metadata = _read(path)
    try:
        value = json.loads(metadata.get(_MADE_FROM, "null"))
    except (ValueError, RecursionError):
        value = None
    if value is None:
        raise ArtifactError(path, f"has no valid metadata {_MADE_FROM}")
    made_from = parse_artifact(path, MadeFrom, value)
    check_inputs(path, asdict(made_from), **present)
    return made_from


def read_image_size(path: Path) -> ImageSize:
    """Size of the input of an exported file, from its shape.

    Raises:
        ArtifactError: The file is missing or damaged, or its input has no such shape.
    """
    inputs = _load(path).graph.input
    shape = [axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim] if inputs else []
    match shape:
        case [_, int(height), int(width), 1 | 3] if min(height, width) > 0:
            return image_size(height, width)
    raise ArtifactError(path, "has no input of shape [n, height, width, 3 or 1]")


def _read(path: Path) -> Mapping[str, str]:
    return {entry.key: entry.value for entry in _load(path).metadata_props}


def _load(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except (DecodeError, OSError):
        raise ArtifactError(path, "is truncated or not ONNX") from None

"""An ONNX classifier that was made elsewhere, with the inputs and outputs of exported models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from finch_runtime.image_size import ImageSize, height_and_width, image_size

from pipeline.errors import ArtifactError

if TYPE_CHECKING:
    from onnx import ModelProto

_PREFIX = "model/"


@dataclass(frozen=True)
class ForeignInput:
    """What the images of a model must be.

    Attributes:
        size: Height and width in pixels, as one number if they are equal.
        channels: 3 for RGB, 1 for gray.
    """

    size: ImageSize
    channels: int


@dataclass(frozen=True)
class _Layout:
    size: ImageSize | None
    channels: int
    channels_first: bool
    batch: int | None


def adapt_onnx(
    path: Path,
    out: Path,
    *,
    classes: int,
    default_size: ImageSize,
    mean: Sequence[float],
    std: Sequence[float],
) -> ForeignInput:
    """Writes a copy of a model that takes uint8 images, and returns logits and probabilities.

    The model takes one float tensor, [n, channels, height, width] or [n, height, width,
    channels], with pixels ``(value / 255 - mean) / std``, and returns logits or probabilities,
    [n, classes]. A model that ``finch export`` wrote stays as it is.

    Args:
        path: The model; weights in further files are read, too.
        out: The copy.
        classes: Number of classes of the data.
        default_size: Size of the images, if the model takes any.
        mean: Mean per channel, of values in [0, 1].
        std: Standard deviation per channel.

    Raises:
        ArtifactError: The file is missing, damaged, or a model with other inputs or outputs.
    """
    import onnx

    model = _load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        remedy = "export it with the images as its only input"
        raise ArtifactError(path, f"has {len(inputs)} inputs ({names})", remedy)
    output = _find_output(path, model, classes)
    if (
        inputs[0].name == "images"
        and inputs[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    ):
        *sides, channels = _shape(inputs[0])[1:]
        onnx.save(model, out)
        return ForeignInput(_size(sides) or default_size, channels or 3)
    layout = _read_layout(path, inputs[0])
    size = layout.size or default_size
    onnx.save(_wrapped(model, inputs[0], output, layout, size, mean, std), out)
    return ForeignInput(size, layout.channels)


def _load(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load(path)
    except FileNotFoundError:
        raise ArtifactError(
            path, "is missing, or a file with its weights is", "copy both"
        ) from None
    except (DecodeError, OSError, onnx.checker.ValidationError):
        raise ArtifactError(path, "is truncated or not ONNX", "export it again") from None


def _shape(value: Any) -> list[int | None]:
    """Sizes of the axes; None if one is dynamic."""
    return [axis.dim_value or None for axis in value.type.tensor_type.shape.dim]


def _size(sides: Sequence[int | None]) -> ImageSize | None:
    """The size of images of this height and width; None if one of them is dynamic."""
    height, width = sides
    return None if height is None or width is None else image_size(height, width)


def _find_output(path: Path, model: ModelProto, classes: int) -> str:
    outputs = {str(each.name): _shape(each) for each in model.graph.output}
    for name, shape in outputs.items():
        if len(shape) == 2 and shape[1] in (classes, None):
            return name
    found = "; ".join(f"{name} {_text(shape)}" for name, shape in outputs.items())
    problem = f"has the outputs {found}, but the data has {classes} classes"
    raise ArtifactError(path, problem, f"export it with an output of shape [n, {classes}]")


def _read_layout(path: Path, value: Any) -> _Layout:
    import onnx

    kind, shape = value.type.tensor_type.elem_type, _shape(value)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    if kind in floats and len(shape) == 4 and shape[0] in (None, 1):
        batch, *rest = shape
        for channels_first, (channels, *sides) in ((True, rest), (False, [rest[2], *rest[:2]])):
            if channels in (1, 3) and (None not in sides or sides == [None, None]):
                return _Layout(_size(sides), channels, channels_first, batch)
    found = f"{onnx.TensorProto.DataType.Name(kind).lower()} {_text(shape)}"
    remedy = "export it for float images, [n, 3, height, width], and a batch of 1 or of any size"
    raise ArtifactError(path, f"its input {value.name} is {found}", remedy)


def _text(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


def _wrapped(
    model: ModelProto,
    value: Any,
    output: str,
    layout: _Layout,
    size: ImageSize,
    mean: Sequence[float],
    std: Sequence[float],
) -> ModelProto:
    """The model between the normalization of uint8 images and a softmax."""
    from onnx import TensorProto, compose, helper, numpy_helper

    inner = compose.add_prefix(model, _PREFIX).graph
    channels, batch = layout.channels, layout.batch or "batch"
    means, stds = (np.asarray(each[:channels], np.float64) for each in (mean, std))
    kind = value.type.tensor_type.elem_type
    order = [0, 3, 1, 2] if layout.channels_first else [0, 1, 2, 3]
    last = next((node for node in inner.node if f"{_PREFIX}{output}" in node.output), None)
    is_softmax = last is not None and last.op_type == "Softmax"
    logits = last.input[0] if last is not None and is_softmax else f"{_PREFIX}{output}"
    shape = [batch, _shape(next(each for each in model.graph.output if each.name == output))[1]]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "shift"], ["normalized"]),
            helper.make_node("Transpose", ["normalized"], ["ordered"], perm=order),
            helper.make_node("Cast", ["ordered"], [f"{_PREFIX}{value.name}"], to=kind),
            *inner.node,
            helper.make_node("Cast", [logits], ["logits"], to=TensorProto.FLOAT),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "foreign",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.UINT8, [batch, *height_and_width(size), channels]
            ),
            *(each for each in inner.input if each.name != f"{_PREFIX}{value.name}"),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name in ("logits", "probabilities")
        ],
        [
            *inner.initializer,
            numpy_helper.from_array((1 / (255 * stds)).astype(np.float32), "scale"),
            numpy_helper.from_array((-means / stds).astype(np.float32), "shift"),
        ],
    )
    return helper.make_model(
        graph,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
    )

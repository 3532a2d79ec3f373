"""ONNX files of other tools, against a linear classifier in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from finch_runtime.session import open_session, predict
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ArtifactError
from pipeline.export.foreign_onnx import ForeignInput, adapt_onnx

SIZE, CLASSES = 4, 3
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, CLASSES)).astype(np.float32)
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def write(
    path: Path,
    shape: list[Any],
    *,
    kind: int = FLOAT,
    softmax: bool = False,
    names: tuple[str, str] = ("x", "y"),
    inputs: int = 1,
) -> Path:
    """Logits are the flattened input times ``WEIGHTS``, in the input's own order of axes."""
    x, y = names
    nodes = [
        helper.make_node("Flatten", [x], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product" if softmax else y]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["product"], [y], axis=1))
    values = [helper.make_tensor_value_info(f"{x}{i or ''}", kind, shape) for i in range(inputs)]
    weights = WEIGHTS.astype(np.float16 if kind == FLOAT16 else np.float32)
    graph = helper.make_graph(
        nodes,
        "foreign",
        values,
        [helper.make_tensor_value_info(y, kind, [shape[0], CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def adapt(path: Path, **changes: Any) -> tuple[ForeignInput, Path]:
    out = path.with_name("adapted.onnx")
    options = {"classes": CLASSES, "default_size": SIZE, "mean": MEAN, "std": STD} | changes
    return adapt_onnx(path, out, **options), out


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(
    ("shape", "order"),
    [
        (["n", 3, SIZE, SIZE], (0, 3, 1, 2)),
        ([1, 3, SIZE, SIZE], (0, 3, 1, 2)),
        (["n", SIZE, SIZE, 3], (0, 1, 2, 3)),
        (["n", 3, "h", "h"], (0, 3, 1, 2)),
    ],
)
def test_the_copy_computes_what_the_model_computes_of_normalized_images(
    tmp_path: Path, shape: list[Any], order: tuple[int, ...], softmax: bool
) -> None:
    # The names of the copy's own tensors must not collide with those of the model.
    names = ("pixels", "logits")
    found, out = adapt(write(tmp_path / "m.onnx", shape, softmax=softmax, names=names))
    assert found == ForeignInput(SIZE, 3)
    images = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    normalized = ((images / 255 - np.array(MEAN)) / np.array(STD)).transpose(order)
    logits = predict(open_session(out, "onnxruntime"), images)
    np.testing.assert_allclose(logits, normalized.reshape(5, -1) @ WEIGHTS, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "order"), [(["n", 3, 2, 8], (0, 3, 1, 2)), ([1, 2, 8, 3], (0, 1, 2, 3))]
)
def test_a_model_of_rectangles_keeps_their_shape(
    tmp_path: Path, shape: list[Any], order: tuple[int, ...]
) -> None:
    found, out = adapt(write(tmp_path / "m.onnx", shape))
    assert found == ForeignInput((2, 8), 3)
    images = np.random.default_rng(1).integers(0, 256, (5, 2, 8, 3), dtype=np.uint8)
    normalized = ((images / 255 - np.array(MEAN)) / np.array(STD)).transpose(order)
    logits = predict(open_session(out, "onnxruntime"), images)
    np.testing.assert_allclose(logits, normalized.reshape(5, -1) @ WEIGHTS, atol=1e-4)
    assert adapt(out) == (ForeignInput((2, 8), 3), out)


def test_half_precision_is_returned_as_float32(tmp_path: Path) -> None:
    _, out = adapt(write(tmp_path / "m.onnx", ["n", 3, SIZE, SIZE], kind=FLOAT16))
    images = np.full((1, SIZE, SIZE, 3), 100, np.uint8)
    assert predict(open_session(out, "onnxruntime"), images).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"shape": ["n", 3, SIZE, SIZE]}, {"classes": 7}, "has the outputs y .n, 3., but the data"),
        (
            {"shape": ["n", 3, SIZE, "w"]},
            {},
            r"its input x is float .n, 3, 4, n.; export it for float images, \[n, 3, height, width",
        ),
        ({"shape": [8, 3, SIZE, SIZE]}, {}, "its input x is float .8, 3, 4, 4.; .* a batch of 1"),
        ({"shape": ["n", 48]}, {}, "its input x is float .n, 48."),
        ({"shape": ["n", 3, SIZE, SIZE], "inputs": 2}, {}, r"has 2 inputs \(x, x1\)"),
    ],
)
def test_other_inputs_and_outputs_are_refused_with_what_is_needed(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        adapt(write(tmp_path / "m.onnx", **options), **changes)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"PK\x03\x04")
    with pytest.raises(ArtifactError, match="is truncated or not ONNX"):
        adapt(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="is missing"):
        adapt(tmp_path / "none.onnx")

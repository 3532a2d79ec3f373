"""Logits of many images, and the top-k labels of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import pytest
from finch_runtime.arrays import read_images
from finch_runtime.cli import top_labels
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import open_session, predict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnxruntime.quantization import quantize_dynamic

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", ["dynamic", "fixed"])
@pytest.mark.parametrize("count", [1, 32, 70])
def test_every_image_gets_its_own_logits(
    tiny: TinyModel, runtime: str, batch: str, count: int
) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    logits = predict(open_session(tiny.path(runtime, batch), runtime), images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, tiny.logits(images), rtol=1e-4, atol=1e-5)


def test_the_logits_of_an_image_do_not_depend_on_the_other_images(
    tiny: TinyModel, images: Array, tmp_path: Path
) -> None:
    # Ranges of dynamically quantized activations span the batch.
    path = tmp_path / "model.onnx"
    quantize_dynamic(tiny.path("onnxruntime", "dynamic"), path)
    session = open_session(path, "onnxruntime")
    some = images.copy()
    some[1] //= 16  # a dark image
    alone = np.concatenate([session.run(some[i : i + 1])[0] for i in range(len(some))])
    assert not np.array_equal(session.run(some)[0], alone), "the model is not a dynamic one"
    np.testing.assert_array_equal(predict(session, some), alone)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_model_of_gray_images(
    tmp_path: Path, write_model: Callable[..., None], runtime: str
) -> None:
    rng = np.random.default_rng(3)
    weights = rng.normal(scale=1e-2, size=(64, 5)).astype(np.float32)
    path, images = tmp_path / "model.onnx", rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    write_model(path, weights, np.zeros(5, np.float32), "batch", channels=1)
    if runtime == "openvino":
        read = openvino.Core().read_model(path)
        openvino.save_model(read, path.with_suffix(".xml"), compress_to_fp16=False)
        path = path.with_suffix(".xml")
    session = open_session(path, runtime)
    np.save(tmp_path / "images.npy", images)
    logits = predict(session, read_images(tmp_path / "images.npy"))
    expected = images.reshape(4, 64).astype(np.float64) @ weights
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(RuntimeProblem, match=r"pass uint8 \[batch, 8, 8, 1\]"):
        predict(session, np.zeros((1, 8, 8, 3), np.uint8))


def test_no_images_are_rejected(tiny: TinyModel) -> None:
    session = open_session(tiny.path("onnxruntime", "dynamic"), "onnxruntime")
    with pytest.raises(RuntimeProblem, match="images: none"):
        predict(session, np.zeros((0, 8, 8, 3), np.uint8))


@given(
    probabilities=hnp.arrays(np.float32, st.integers(1, 12), elements=st.floats(0, 1, width=32)),
    top=st.integers(1, 15),
)
def test_the_top_labels_are_the_most_probable_ones(probabilities: Array, top: int) -> None:
    labels = [f"class {index}" for index in range(len(probabilities))]
    predictions = top_labels(probabilities, labels, top)
    shown = [each["probability"] for each in predictions]
    assert shown == sorted(shown, reverse=True)
    assert len({each["label"] for each in predictions}) == min(top, len(labels))
    for each in predictions:
        assert each["probability"] == probabilities[labels.index(each["label"])]
    left_out = [
        p
        for p, label in zip(probabilities, labels, strict=True)
        if label not in {each["label"] for each in predictions}
    ]
    assert max(left_out, default=0) <= min(shown)


def test_labels_of_another_model_are_rejected() -> None:
    with pytest.raises(RuntimeProblem, match=r"labels: .*3.* 2 classes"):
        top_labels(np.array([0.5, 0.5], np.float32), ["a", "b", "c"], 1)

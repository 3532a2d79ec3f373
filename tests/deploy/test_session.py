"""Both runtimes against the closed form of the tiny model, and models outside of the contract."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import open_session
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]

RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
BATCHES = pytest.mark.parametrize("batch", ["dynamic", "fixed"])


@RUNTIMES
@BATCHES
def test_logits_and_probabilities_are_those_of_the_closed_form(
    tiny: TinyModel, images: Array, runtime: str, batch: str
) -> None:
    session = open_session(tiny.path(runtime, batch), runtime)
    assert (session.size, session.fixed_batch) == (8, batch == "fixed")
    some = images[:1] if batch == "fixed" else images
    logits, probabilities = session.run(some)
    assert logits.dtype == probabilities.dtype == np.float32
    np.testing.assert_allclose(logits, tiny.logits(some), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, tiny.probabilities(some), rtol=1e-4, atol=1e-6)


@RUNTIMES
def test_outputs_are_not_overwritten_by_the_next_inference(
    tiny: TinyModel, images: Array, runtime: str
) -> None:
    session = open_session(tiny.path(runtime, "fixed"), runtime)
    first, _ = session.run(images[:1])
    session.run(images[1:2])
    np.testing.assert_allclose(first, tiny.logits(images[:1]), rtol=1e-4, atol=1e-5)


@RUNTIMES
def test_strided_and_read_only_images_are_read_correctly(
    tiny: TinyModel, images: Array, runtime: str
) -> None:
    session = open_session(tiny.path(runtime, "dynamic"), runtime)
    mirrored = images[:, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_allclose(
        session.run(mirrored)[0], tiny.logits(mirrored), rtol=1e-4, atol=1e-5
    )
    images.flags.writeable = False
    np.testing.assert_allclose(session.run(images)[0], tiny.logits(images), rtol=1e-4, atol=1e-5)


@RUNTIMES
@BATCHES
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((1, 3, 8, 8), np.uint8), id="channels first"),
        pytest.param(np.zeros((1, 8, 8, 3), np.float32), id="float"),
        pytest.param(np.zeros((1, 9, 9, 3), np.uint8), id="another size"),
        pytest.param(np.zeros((8, 8, 3), np.uint8), id="no batch"),
        pytest.param(np.zeros((0, 8, 8, 3), np.uint8), id="none"),
    ],
)
def test_images_that_do_not_fit_are_rejected(
    tiny: TinyModel, wrong: Array, runtime: str, batch: str
) -> None:
    session = open_session(tiny.path(runtime, batch), runtime)
    with pytest.raises(RuntimeProblem, match="does not fit"):
        session.run(wrong)


def test_a_fixed_batch_takes_one_image_only(tiny: TinyModel, images: Array) -> None:
    session = open_session(tiny.path("onnxruntime", "fixed"), "onnxruntime")
    with pytest.raises(RuntimeProblem, match=r"uint8 \[1, 8, 8, 3\]"):
        session.run(images)


def test_openvino_reports_its_effective_settings(tiny: TinyModel) -> None:
    settings = open_session(tiny.path("openvino", "fixed"), "openvino", threads=2).loaded.settings
    assert settings["INFERENCE_NUM_THREADS"] == "2"
    assert settings["NUM_STREAMS"] == "1"
    assert settings["PERFORMANCE_HINT"] == "LATENCY"


@dataclass(frozen=True)
class Breach:
    """A model outside of the contract, and what the message must contain."""

    match: str
    shape: tuple[int | str, ...] = (1, 8, 8, 3)
    dtype: int = TensorProto.UINT8
    input: str = "images"
    second_output: str = "probabilities"


BREACHES = {
    "input name": Breach("inputs", input="x"),
    "input type": Breach("not uint8", dtype=TensorProto.INT8),
    "channels first": Breach("shape", shape=(1, 3, 8, 8)),
    "open size": Breach("shape", shape=("n", "h", "w", 3)),
    "not square": Breach("shape", shape=(1, 4, 16, 3)),
    "batch of two": Breach("fixed at 2", shape=(2, 8, 8, 3)),
    "output name": Breach("outputs", second_output="softmax"),
}


@RUNTIMES
@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_a_model_outside_of_the_contract_is_rejected(
    tiny: TinyModel, tmp_path: Path, runtime: str, breach: Breach
) -> None:
    import openvino

    path = tmp_path / "model.onnx"
    model = onnx.load(tiny.path("onnxruntime", "fixed"))
    graph = model.graph
    graph.input[0].CopyFrom(helper.make_tensor_value_info(breach.input, breach.dtype, breach.shape))
    graph.node[0].input[0] = breach.input
    graph.node[-1].output[0] = breach.second_output
    for output, name in zip(graph.output, ("logits", breach.second_output), strict=True):
        shape = (breach.shape[0], 5)
        output.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.save(model, path)
    if runtime == "openvino":
        openvino.save_model(openvino.Core().read_model(path), path.with_suffix(".xml"))
        path = path.with_suffix(".xml")
    with pytest.raises(RuntimeProblem, match=breach.match) as caught:
        open_session(path, runtime)
    assert caught.value.thing == path


@RUNTIMES
@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_a_damaged_model_is_rejected_by_name(
    tiny: TinyModel, tmp_path: Path, runtime: str, damage: str
) -> None:
    whole = tiny.path(runtime, "fixed")
    path = tmp_path / whole.name
    content = whole.read_bytes()
    path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"hi"}[damage])
    with pytest.raises(RuntimeProblem) as caught:
        open_session(path, runtime)
    assert caught.value.thing == path and "\n" not in str(caught.value)


def test_openvino_weights_that_are_missing_or_cut_are_rejected(
    tiny: TinyModel, tmp_path: Path
) -> None:
    whole = tiny.path("openvino", "fixed")
    path = tmp_path / "model.xml"
    path.write_bytes(whole.read_bytes())
    with pytest.raises(RuntimeProblem, match="bin file"):
        open_session(path, "openvino")
    path.with_suffix(".bin").write_bytes(whole.with_suffix(".bin").read_bytes()[:100])
    with pytest.raises(RuntimeProblem, match="bin file"):
        open_session(path, "openvino")


@RUNTIMES
def test_a_runtime_that_is_not_installed_is_named(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(RuntimeProblem, match=f"pip install {runtime}"):
        open_session(tiny.path(runtime, "fixed"), runtime)


def test_invalid_arguments_are_rejected(tiny: TinyModel, tmp_path: Path) -> None:
    path = tiny.path("onnxruntime", "fixed")
    with pytest.raises(RuntimeProblem, match="onnxruntime or openvino"):
        open_session(path, "tflite")
    with pytest.raises(RuntimeProblem, match="threads"):
        open_session(path, "onnxruntime", threads=0)
    with pytest.raises(RuntimeProblem, match=r"model\.onnx: no such"):
        open_session(tmp_path / "model.onnx", "onnxruntime")

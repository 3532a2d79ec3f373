"""Both runtimes against the closed form of the tiny model, and models outside of the contract."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import openvino
import pytest
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import MAX_SIZE, MAX_THREADS, open_session
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

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
def test_threads_that_share_a_session_get_their_own_results(
    tiny: TinyModel, images: Array, runtime: str
) -> None:
    session = open_session(tiny.path(runtime, "fixed"), runtime)
    expected = tiny.logits(images)

    def count_wrong(index: int) -> int:
        mine = index % len(images)
        runs = (session.run(images[mine : mine + 1])[0] for _ in range(500))
        return sum(not np.allclose(run[0], expected[mine], rtol=1e-3, atol=1e-4) for run in runs)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(count_wrong, range(8))) == 0


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
    "open width": Breach("shape", shape=("n", 8, "w", 3)),
    "batch of two": Breach("fixed at 2", shape=(2, 8, 8, 3)),
    "output name": Breach("outputs", second_output="softmax"),
}


@RUNTIMES
def test_a_model_of_rectangles_takes_its_height_and_width(
    tiny: TinyModel, write_model: Callable[..., None], tmp_path: Path, runtime: str
) -> None:
    path = tmp_path / "model.onnx"
    write_model(path, tiny.weights, tiny.bias, 1, height=4)
    if runtime == "openvino":
        openvino.save_model(openvino.Core().read_model(path), path.with_suffix(".xml"))
        path = path.with_suffix(".xml")
    session = open_session(path, runtime)
    assert session.size == (4, 16)
    images = np.random.default_rng(2).integers(0, 256, (1, 4, 16, 3), dtype=np.uint8)
    logits, _ = session.run(images)
    np.testing.assert_allclose(logits, tiny.logits(images), rtol=1e-2, atol=1e-3)
    with pytest.raises(RuntimeProblem, match=r"uint8 \[1, 4, 16, 3\]"):
        session.run(images.reshape(1, 16, 4, 3))


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


def test_a_model_of_huge_images_is_rejected(tmp_path: Path) -> None:
    size = MAX_SIZE + 1
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["float"], ["logits"], axes=[1, 2], keepdims=0),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "huge",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, size, size, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
            for name in ("logits", "probabilities")
        ],
    )
    path = tmp_path / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    with pytest.raises(RuntimeProblem, match=f"{size} x {size} pixels"):
        open_session(path, "onnxruntime")


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("pipe", ["model.onnx", "model.xml", "model.bin"])
def test_a_pipe_as_a_model_is_rejected_without_waiting(
    tiny: TinyModel, tmp_path: Path, pipe: str
) -> None:
    runtime = "onnxruntime" if pipe == "model.onnx" else "openvino"
    path = tmp_path / tiny.path(runtime, "fixed").name
    path.write_bytes(tiny.path(runtime, "fixed").read_bytes())
    (tmp_path / pipe).unlink(missing_ok=True)
    os.mkfifo(tmp_path / pipe)
    with pytest.raises(RuntimeProblem, match="is not a regular file") as caught:
        open_session(path, runtime)
    assert caught.value.thing == path


def test_weights_in_another_file_are_not_loaded(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.load(tiny.path("onnxruntime", "fixed"))
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="model.data")
    with pytest.raises(RuntimeProblem, match="another file"):
        open_session(path, "onnxruntime")


def save_changed(tiny: TinyModel, path: Path, runtime: str, bias: Array, shape: list[int]) -> Path:
    """The tiny model with another bias, and outputs of another shape."""
    import openvino

    model = onnx.load(tiny.path("onnxruntime", "fixed"))
    graph = model.graph
    graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "bias"))
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
    for node, name in zip(graph.node[-2:], ("logits", "probabilities"), strict=True):
        node.output[0] = f"flat {name}"
        graph.node.append(helper.make_node("Reshape", [f"flat {name}", "shape"], [name]))
    graph.node[3].input[0] = "flat logits"
    for output in graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape))
    onnx.save(model, path / "model.onnx")
    if runtime == "onnxruntime":
        return path / "model.onnx"
    read = openvino.Core().read_model(path / "model.onnx")
    openvino.save_model(read, path / "model.xml", compress_to_fp16=False)
    return path / "model.xml"


@RUNTIMES
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_rejected(
    tiny: TinyModel, images: Array, tmp_path: Path, runtime: str, value: float
) -> None:
    bias = tiny.bias.copy()
    bias[2] = value
    path = save_changed(tiny, tmp_path, runtime, bias, [1, 5])
    with pytest.raises(RuntimeProblem, match="NaN or infinite") as caught:
        open_session(path, runtime).run(images[:1])
    assert caught.value.thing == path


@RUNTIMES
@pytest.mark.parametrize("shape", [[5], [5, 1], [1, 1, 5]])
def test_outputs_of_another_shape_are_rejected(
    tiny: TinyModel, images: Array, tmp_path: Path, runtime: str, shape: list[int]
) -> None:
    path = save_changed(tiny, tmp_path, runtime, tiny.bias, shape)
    with pytest.raises(RuntimeProblem, match="classes"):
        open_session(path, runtime).run(images[:1])


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
    for threads in (0, MAX_THREADS + 1, 10**30):
        with pytest.raises(RuntimeProblem, match=f"threads: {threads} .*1 to {MAX_THREADS}"):
            open_session(path, "onnxruntime", threads=threads)
    with pytest.raises(RuntimeProblem, match=r"model\.onnx: no such"):
        open_session(tmp_path / "model.onnx", "onnxruntime")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a\0b", "\ud800", "a" * 300, "loop"):
        with pytest.raises(RuntimeProblem, match=r"no such file|cannot be read: ") as caught:
            open_session(tmp_path / name, "onnxruntime")
        assert caught.value.thing == tmp_path / name

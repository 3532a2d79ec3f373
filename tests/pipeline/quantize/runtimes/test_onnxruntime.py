from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.params import Candidate
from pipeline.quantize.runtimes.onnxruntime import OnnxRuntime, StaticOptions

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]

MEAN = np.array((0.485, 0.456, 0.406))
STD = np.array((0.229, 0.224, 0.225))


def describe(precision: Literal["fp32", "int8"], batch: Literal["dynamic", 1]) -> Candidate:
    return Candidate(name="candidate", runtime="onnxruntime", precision=precision, batch=batch)


def run(path: Path, images: Images, *, simulated: bool = False) -> list[NDArray[np.float32]]:
    """Logits and probabilities, one image at a time."""
    options = ort.SessionOptions()
    if simulated:  # quantized values in float kernels
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = ["logits", "probabilities"]
    parts = [session.run(outputs, {"images": images[i : i + 1]}) for i in range(len(images))]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def int8(
    exported: dict[Any, Path], calibration: Images, tmp_path_factory: pytest.TempPathFactory
) -> dict[Any, Path]:
    return {
        batch: OnnxRuntime().make(
            describe("int8", batch), source, calibration, tmp_path_factory.mktemp("int8")
        )
        for batch, source in exported.items()
    }


@pytest.fixture(scope="module")
def fp32_logits(exported: dict[Any, Path], images: Images) -> Logits:
    return run(exported["dynamic"], images)[0]


def graph_of(path: Path) -> tuple[onnx.GraphProto, dict[str, NDArray[Any]]]:
    graph = onnx.load(path).graph
    return graph, {i.name: numpy_helper.to_array(i) for i in graph.initializer}


def test_fp32_is_the_exported_student(exported: dict[Any, Path], tmp_path: Path) -> None:
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    path = OnnxRuntime().make(describe("fp32", 1), exported[1], nothing, tmp_path)
    assert path.read_bytes() == exported[1].read_bytes()


@pytest.mark.parametrize("batch", ["dynamic", 1])
def test_int8_agrees_with_fp32(
    int8: dict[Any, Path], images: Images, fp32_logits: Logits, batch: Literal["dynamic", 1]
) -> None:
    logits, probabilities = run(int8[batch], images)
    error = np.sqrt(np.mean((logits - fp32_logits) ** 2)) / fp32_logits.std()
    assert error < 0.1
    assert np.mean(logits.argmax(axis=1) == fp32_logits.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_weights_are_int8_with_a_scale_per_channel(
    int8: dict[Any, Path], exported: dict[Any, Path]
) -> None:
    graph, values = graph_of(int8["dynamic"])
    made_by = {name: node for node in graph.node for name in node.output}
    weighted = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(weighted) == 7
    for node in weighted:
        dequantize = made_by[node.input[1]]
        weights, scales = (values[name] for name in dequantize.input[:2])
        assert dequantize.op_type == "DequantizeLinear"
        assert weights.dtype == np.int8
        assert scales.shape == weights.shape[:1]
    assert int8["dynamic"].stat().st_size < 0.6 * exported["dynamic"].stat().st_size


def test_two_products_never_saturate_16_bits(int8: dict[Any, Path]) -> None:
    # vpmaddubsw, on x86 without VNNI, adds two products of uint8 and int8 in int16. Depthwise
    # kernels do not use it: they have no sum over channels.
    _, values = graph_of(int8["dynamic"])
    weights = [v.astype(int) for v in values.values() if v.dtype == np.int8 and v.ndim > 1]
    depthwise = [w for w in weights if w.ndim == 4 and w.shape[1] == 1]
    dense = [w for w in weights if w.ndim == 2 or w.shape[1] > 1]
    assert (len(depthwise), len(dense)) == (1, 6)
    assert 2 * 255 * max(np.abs(w).max() for w in dense) <= np.iinfo(np.int16).max
    assert np.abs(depthwise[0]).max() == 127


def test_integer_kernels_agree_with_simulated_quantization(
    int8: dict[Any, Path], images: Images
) -> None:
    integers, floats = run(int8["dynamic"], images)[0], run(int8["dynamic"], images, simulated=True)
    assert np.abs(integers - floats[0]).max() < 0.03 * floats[0].std()


def test_preprocessing_and_softmax_stay_in_float(int8: dict[Any, Path]) -> None:
    graph, _ = graph_of(int8["dynamic"])
    made_by = {name: node for node in graph.node for name in node.output}
    name, before = next(n for n in graph.node if n.op_type == "QuantizeLinear").input[0], []
    while name in made_by:
        before.append(made_by[name].op_type)
        name = made_by[name].input[0]
    assert name == "images"
    assert sorted(before) == ["Add", "Cast", "Mul", "Transpose"]
    softmax = next(n for n in graph.node if n.op_type == "Softmax")
    assert list(softmax.input) == ["logits"]
    assert made_by["logits"].op_type == "Gemm"  # not quantized to 256 levels


@pytest.mark.parametrize("batch", ["dynamic", 1])
def test_every_calibration_image_is_used(
    exported: dict[Any, Path], calibration: Images, tmp_path: Path, batch: Literal["dynamic", 1]
) -> None:
    # The extreme pixels are in the last image, which is in an incomplete batch.
    calibration = calibration[:19].clip(60, 200)
    calibration[-1, 0, 0], calibration[-1, 0, 1] = 0, 255
    path = OnnxRuntime().make(describe("int8", batch), exported[batch], calibration, tmp_path)
    graph, values = graph_of(path)
    first = next(n for n in graph.node if n.op_type == "QuantizeLinear")
    scale, zero = (values[name] for name in first.input[1:3])
    lowest, highest = ((0 - MEAN) / STD).min(), ((1 - MEAN) / STD).max()
    assert scale == pytest.approx((highest - lowest) / 255, rel=1e-4)
    assert zero == pytest.approx(-lowest / scale, abs=1)


def test_a_fixed_batch_stays_fixed(int8: dict[Any, Path]) -> None:
    session = ort.InferenceSession(int8[1], providers=["CPUExecutionProvider"])
    shapes = [value.shape for value in (*session.get_inputs(), *session.get_outputs())]
    assert shapes == [[1, 32, 32, 3], [1, 5], [1, 5]]


def test_nothing_is_printed_and_no_scratch_file_stays(
    exported: dict[Any, Path],
    calibration: Images,
    int8: dict[Any, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "model"
    scratch.mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = OnnxRuntime().make(describe("int8", "dynamic"), exported["dynamic"], calibration, folder)
    assert list(scratch.iterdir()) == []
    assert list(folder.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")
    assert path.read_bytes() == int8["dynamic"].read_bytes()


def test_fp16_halves_the_file_and_agrees_with_fp32(
    exported: dict[Any, Path], images: Images, fp32_logits: Logits, tmp_path: Path
) -> None:
    candidate = Candidate(name="half", runtime="onnxruntime", precision="fp16")
    path = OnnxRuntime().make(candidate, exported["dynamic"], images[:0], tmp_path)
    assert path.stat().st_size < 0.65 * exported["dynamic"].stat().st_size
    error = np.abs(run(path, images)[0] - fp32_logits).max()
    assert 0 < error < 5e-3 * np.abs(fp32_logits).max()


OPTIONS: list[dict[str, Any]] = [
    {"types": "u8u8"},
    {"types": "s8s8"},
    {"per_channel": False},
    {"reduce_range": False},
    {"calibration": "entropy"},
    {"calibration": "percentile"},
    {"format": "qoperator"},
    {"format": "qoperator", "types": "u8u8", "per_channel": False},
    {"format": "qoperator", "types": "s8s8"},
    {"format": "qoperator", "per_channel": False},
    {"method": "dynamic"},
]


@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda options: "-".join(map(str, options.values()))
)
def test_all_int8_options_agree_with_fp32(
    exported: dict[Any, Path],
    calibration: Images,
    images: Images,
    fp32_logits: Logits,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    candidate = Candidate(name="candidate", runtime="onnxruntime", precision="int8", **options)
    path = OnnxRuntime().make(candidate, exported["dynamic"], calibration, tmp_path)
    # Without VNNI the integer kernels may saturate with 8 bits.
    logits = run(path, images, simulated=options.get("reduce_range") is False)[0]
    assert np.mean(logits.argmax(axis=1) == fp32_logits.argmax(axis=1)) > 0.8
    graph, values = graph_of(path)
    kinds = {node.op_type for node in graph.node}
    weights = [v for v in values.values() if v.dtype in (np.int8, np.uint8) and v.ndim > 1]
    signed = {v.dtype == np.int8 for v in weights}
    if candidate.method == "dynamic":
        assert {"DynamicQuantizeLinear", "ConvInteger"} <= kinds
        assert signed == {False}
    else:
        static = candidate.options
        assert isinstance(static, StaticOptions)
        assert ("QLinearConv" in kinds) == (static.format == "qoperator")
        assert signed == {static.types.endswith("s8")}
        scales = [
            v for n, v in values.items() if n.endswith("scale") and v.ndim == 1 and v.size > 1
        ]
        assert bool(scales) == static.per_channel


@pytest.mark.parametrize("calibration_by", ["entropy", "percentile"])
def test_histogram_calibration_never_widens_a_range(
    exported: dict[Any, Path],
    calibration: Images,
    int8: dict[Any, Path],
    tmp_path: Path,
    calibration_by: Literal["entropy", "percentile"],
) -> None:
    candidate = Candidate(
        name="candidate", runtime="onnxruntime", precision="int8", calibration=calibration_by
    )
    path = OnnxRuntime().make(candidate, exported["dynamic"], calibration, tmp_path)
    widest, narrower = graph_of(int8["dynamic"])[1], graph_of(path)[1]
    ratios = [
        float(scale / widest[name])
        for name, scale in narrower.items()
        if name.endswith("scale") and scale.ndim == 0 and name in widest
    ]
    assert len(ratios) > 5
    assert max(ratios) < 1.001
    if calibration_by == "percentile":
        assert min(ratios) < 0.99

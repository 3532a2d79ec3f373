from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import openvino
import pytest
import rich
import rich.console
from numpy.typing import NDArray

from pipeline.params import Candidate
from pipeline.quantize.runtimes.openvino import OpenVINO

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]
Batch = Literal["dynamic", 1]

MEAN = np.array((0.485, 0.456, 0.406))
STD = np.array((0.229, 0.224, 0.225))


def describe(precision: Literal["fp32", "fp16", "int8"], batch: Batch) -> Candidate:
    return Candidate(name="candidate", runtime="openvino", precision=precision, batch=batch)


def run(path: Path, images: Images) -> tuple[Logits, NDArray[np.float32]]:
    """Logits and probabilities, one image at a time, in fp32 even if the CPU prefers bf16."""
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = [compiled({"images": images[i : i + 1]}) for i in range(len(images))]
    logits, probabilities = (
        np.concatenate([result[name] for result in results]) for name in ("logits", "probabilities")
    )
    return logits, probabilities


@pytest.fixture(scope="module")
def fp32_logits(exported: dict[Any, Path], images: Images) -> Logits:
    session = onnxruntime.InferenceSession(exported["dynamic"], providers=["CPUExecutionProvider"])
    logits: Logits = session.run(["logits"], {"images": images})[0]
    return logits


@pytest.fixture(scope="module")
def int8(
    exported: dict[Any, Path], calibration: Images, tmp_path_factory: pytest.TempPathFactory
) -> dict[Any, Path]:
    return {
        batch: OpenVINO().make(
            describe("int8", batch), source, calibration, tmp_path_factory.mktemp("int8")
        )
        for batch, source in exported.items()
    }


def nodes(path: Path, kind: str) -> list[Any]:
    return [n for n in openvino.Core().read_model(path).get_ops() if n.get_type_name() == kind]


@pytest.mark.parametrize("batch", ["dynamic", 1])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_float_candidates_agree_with_the_student(
    exported: dict[Any, Path],
    images: Images,
    fp32_logits: Logits,
    tmp_path: Path,
    precision: Literal["fp32", "fp16"],
    tolerance: float,
    batch: Batch,
) -> None:
    nothing = images[:0]
    path = OpenVINO().make(describe(precision, batch), exported[batch], nothing, tmp_path)
    logits, probabilities = run(path, images)
    assert np.abs(logits - fp32_logits).max() < tolerance * np.abs(fp32_logits).max()
    odds = np.exp(logits)
    np.testing.assert_allclose(probabilities, odds / odds.sum(axis=1, keepdims=True), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_fp16_halves_the_weights(exported: dict[Any, Path], images: Images, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "fp16"):
        (tmp_path / precision).mkdir()
        path = OpenVINO().make(
            describe(precision, "dynamic"), exported["dynamic"], images[:0], tmp_path / precision
        )
        sizes[precision] = path.with_suffix(".bin").stat().st_size
    assert sizes["fp16"] == pytest.approx(sizes["fp32"] / 2, rel=0.02)


@pytest.mark.parametrize("batch", ["dynamic", 1])
def test_int8_agrees_with_fp32(
    int8: dict[Any, Path], images: Images, fp32_logits: Logits, batch: Batch
) -> None:
    logits, probabilities = run(int8[batch], images)
    error = np.sqrt(np.mean((logits - fp32_logits) ** 2)) / fp32_logits.std()
    assert error < 0.1
    assert np.mean(logits.argmax(axis=1) == fp32_logits.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_weights_are_stored_as_int8(int8: dict[Any, Path], exported: dict[Any, Path]) -> None:
    weights = [
        c.get_data().astype(int)
        for c in nodes(int8["dynamic"], "Constant")
        if c.get_element_type() == openvino.Type.i8
    ]
    dense = [w for w in weights if w.ndim < 5]  # all but the depthwise convolution
    assert (len(weights), len(dense)) == (7, 6)
    # Two products do not saturate the 16 bits of vpmaddubsw, on x86 without VNNI.
    assert 2 * 255 * max(np.abs(w).max() for w in dense) <= np.iinfo(np.int16).max
    assert nodes(int8["dynamic"], "FakeQuantize")
    size = sum(f.stat().st_size for f in int8["dynamic"].parent.iterdir())
    assert size < exported["dynamic"].stat().st_size


def test_bias_correction_changes_the_biases(
    int8: dict[Any, Path], exported: dict[Any, Path], tmp_path: Path
) -> None:
    # In a graph that is not folded NNCF finds none, without a warning.
    fp32 = OpenVINO().make(
        describe("fp32", "dynamic"),
        exported["dynamic"],
        np.empty((0, 32, 32, 3), np.uint8),
        tmp_path,
    )

    def biases(path: Path) -> list[NDArray[np.float32]]:
        constants = [
            source.get_data().reshape(-1)
            for add in nodes(path, "Add")
            for source in (add.input_value(1).get_node(),)
            if source.get_type_name() == "Constant" and source.get_data().size > 3
        ]
        return sorted(constants, key=lambda bias: (bias.size, bias[0]))

    before, after = biases(fp32), biases(int8["dynamic"])
    assert [b.shape for b in before] == [a.shape for a in after]
    changed = [not np.allclose(b, a, atol=1e-6) for b, a in zip(before, after, strict=True)]
    assert sum(changed) >= len(changed) - 1


def test_preprocessing_stays_in_float(int8: dict[Any, Path], calibration: Images) -> None:
    first = next(
        n
        for n in openvino.Core().read_model(int8["dynamic"]).get_ordered_ops()
        if n.get_type_name() == "FakeQuantize"
    )
    before, node = [], first.input_value(0).get_node()
    while node.get_type_name() != "Parameter":
        before.append(node.get_type_name())
        node = node.input_value(0).get_node()
    assert sorted(before) == ["Add", "Convert", "Multiply", "Transpose"]
    # Symmetric, up to the most extreme pixel of all images.
    pixels = (calibration / 255 - MEAN) / STD
    low, high = (first.input_value(i).get_node().get_data().item() for i in (1, 2))
    assert max(-low, high) == pytest.approx(np.abs(pixels).max(), rel=0.01)


def test_a_fixed_batch_stays_fixed(int8: dict[Any, Path]) -> None:
    model = openvino.Core().read_model(int8[1])
    assert [list(v.shape) for v in (*model.inputs, *model.outputs)] == [
        [1, 32, 32, 3],
        [1, 5],
        [1, 5],
    ]


def test_a_second_run_in_the_process_gives_the_same_bytes_and_prints_nothing(
    exported: dict[Any, Path],
    calibration: Images,
    int8: dict[Any, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = OpenVINO().make(describe("int8", "dynamic"), exported["dynamic"], calibration, tmp_path)
    for suffix in (".xml", ".bin"):
        again, before = path.with_suffix(suffix), int8["dynamic"].with_suffix(suffix)
        assert again.read_bytes() == before.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_progress_bars_of_nncf_are_hidden(
    exported: dict[Any, Path],
    calibration: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = io.StringIO()
    console = rich.console.Console(file=terminal, force_terminal=True)
    monkeypatch.setattr(rich, "_console", console)
    OpenVINO().make(describe("int8", 1), exported[1], calibration, tmp_path)
    assert terminal.getvalue() == ""
    console.print("afterwards")
    assert "afterwards" in terminal.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"method": "weights"},
        {"preset": "mixed"},
        {"bias_correction": "fast"},
        {"reduce_range": False},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_all_int8_options_agree_with_fp32(
    exported: dict[Any, Path],
    calibration: Images,
    images: Images,
    fp32_logits: Logits,
    int8: dict[Any, Path],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    candidate = Candidate(name="candidate", runtime="openvino", precision="int8", **options)
    path = OpenVINO().make(candidate, exported["dynamic"], calibration, tmp_path)
    logits = run(path, images)[0]
    # With 8 bits, processors without VNNI saturate in places.
    wanted = 0.6 if options.get("reduce_range") is False else 0.85
    assert np.mean(logits.argmax(axis=1) == fp32_logits.argmax(axis=1)) > wanted
    assert path.with_suffix(".bin").read_bytes() != int8["dynamic"].with_suffix(".bin").read_bytes()
    assert bool(nodes(path, "FakeQuantize")) == (candidate.method == "static")


def test_weight_compression_needs_no_images(
    exported: dict[Any, Path], images: Images, tmp_path: Path
) -> None:
    candidate = Candidate(name="candidate", runtime="openvino", precision="int8", method="weights")
    path = OpenVINO().make(candidate, exported["dynamic"], images[:0], tmp_path)
    size = path.with_suffix(".bin").stat().st_size
    assert size < 0.4 * exported["dynamic"].stat().st_size

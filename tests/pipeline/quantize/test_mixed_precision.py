"""Mixed precision of networks with a part that int8 cannot represent."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipeline.errors import QuantizationError
from pipeline.params import Bundle, Candidate, MixedPrecision
from pipeline.quantize.candidates import CandidateSet, make_candidates
from pipeline.quantize.layers import Layer
from pipeline.quantize.mixed_precision import SearchSetup, search_mixed_precision, step_sizes
from pipeline.quantize.runtimes.openvino import OpenVINO
from pipeline.quantize.validation import CandidateValidator

FP32 = Candidate(name="fp32", runtime="onnxruntime", precision="fp32")
# One scale for all weights of a layer.
COARSE = Candidate(name="int8", runtime="onnxruntime", precision="int8", per_channel=False)
FINE = Candidate(name="int8", runtime="onnxruntime", precision="int8")
OPENVINO = Candidate(name="ov", runtime="openvino", precision="int8", bias_correction="fast")

Images = NDArray[np.uint8]


LAYERS = ["stem.0.0", "stem.2.0", "residual.0.0", "residual.2.0", "residual.4.0", "head.0.0"]
LAYERS += ["classifier"]
ENDS = ("", "_bias")


def scaled(student: Path, path: Path, factors: list[tuple[str, Any, float]]) -> Path:
    """A copy of a student with parts of some weights multiplied."""
    model = onnx.load(student)
    for values in model.graph.initializer:
        for name, part, factor in factors:
            if values.name == name:
                array = numpy_helper.to_array(values).copy()
                array[part] *= factor
                values.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def coarse_weights(exported: dict[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One channel has so large weights that the others of its layer round to 0."""
    # Its ReLU6 outputs are 0 or 6.
    factors = [(f"model.residual.0.0.weight{end}", 3, 500.0) for end in ENDS]
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return scaled(exported["dynamic"], path, factors)


@pytest.fixture(scope="module")
def wide_range(exported: dict[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One channel of the residual's input has a range in which the others round to 0."""
    producers = [f"model.{name}.0.weight{end}" for name in ("stem.2", "residual.4") for end in ENDS]
    consumers = [f"model.{name}.0.0.weight" for name in ("residual", "head")]
    factors: list[tuple[str, Any, float]] = [(name, 3, 2000.0) for name in producers]
    factors += [(name, (slice(None), 3), 1 / 2000) for name in consumers]
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return scaled(exported["dynamic"], path, factors)


# Layers that round the wide channel: its producers and its consumers.
AROUND = {"stem.2.0", "residual.0.0", "residual.4.0", "head.0.0"}


def run(path: Path, images: Images, *, as_written: bool = False) -> NDArray[np.float32]:
    if path.suffix == ".onnx":
        options = ort.SessionOptions()
        if as_written:  # by default, loading a file quantizes more layers
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        logits: NDArray[np.float32] = session.run(["logits"], {"images": images})[0]
        return logits
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = model({"images": images})["logits"]
    return found


def agreement(path: Path, student: Path, images: Images) -> float:
    return float(np.mean(run(path, images).argmax(1) == run(student, images).argmax(1)))


def validator_for(student: Path, images: Images, **limits: float) -> CandidateValidator:
    """The labels are the predictions of the student, whose accuracy is thus 1."""
    labels = run(student, images).argmax(axis=1)
    rule = Bundle.model_validate({"max_drop": 5.0, "max_drop_bound": 15.0, **limits})
    return CandidateValidator(student, images, labels, rule)


def make(
    student: Path,
    candidates: list[Candidate],
    calibration: Images,
    validator: CandidateValidator,
    folder: Path,
    **params: Any,
) -> CandidateSet:
    search = SearchSetup(validator, MixedPrecision(**params))
    return make_candidates({"dynamic": student}, candidates, calibration, folder, search=search)


def float_weights(path: Path) -> set[str]:
    graph = onnx.load(path).graph
    names = {f"model.{layer}.weight": layer for layer in LAYERS}
    return {names[w.name] for w in graph.initializer if w.name in names}


@pytest.fixture(scope="module")
def searched(
    coarse_weights: Path,
    calibration: Images,
    images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CandidateSet, Path]:
    folder = tmp_path_factory.mktemp("models") / "candidates"
    validator = validator_for(coarse_weights, images)
    return make(coarse_weights, [FP32, COARSE], calibration, validator, folder), folder


def test_the_most_sensitive_layer_is_kept_in_float(
    searched: tuple[CandidateSet, Path], coarse_weights: Path, images: Images
) -> None:
    _, folder = searched
    listed = json.loads((folder / "candidates.json").read_text())
    (search,) = listed["mixed_precision"]
    first, second = search["sensitivities"][:2]
    assert first["layer"] == "residual.0.0"
    assert first["error"] > 3 * second["error"]
    assert [step["float_layers"] for step in search["steps"]] == [["residual.0.0"]]
    assert (search["candidate"], search["mixed"]) == ("int8", "int8-mixed")
    assert "1 of 7 layers" in search["outcome"]
    assert [(c["name"], c["float_layers"]) for c in listed["candidates"]] == [
        ("fp32", []),
        ("int8", []),
        ("int8-mixed", ["residual.0.0"]),
    ]
    assert agreement(folder / "int8/model.onnx", coarse_weights, images) < 0.9
    assert agreement(folder / "int8-mixed/model.onnx", coarse_weights, images) > 0.95
    assert float_weights(folder / "int8-mixed/model.onnx") == {"residual.0.0"}
    assert float_weights(folder / "int8/model.onnx") == set()


def test_candidates_json_has_the_options_of_each_candidate(
    searched: tuple[CandidateSet, Path],
) -> None:
    listed = json.loads((searched[1] / "candidates.json").read_text())["candidates"]
    options = {
        "method": "static",
        "calibration": "minmax",
        "format": "qdq",
        "per_channel": False,
        "reduce_range": True,
        "types": "u8s8",
    }
    assert [c["options"] for c in listed] == [{}, options, options]


def test_a_step_has_the_fractions_of_weights_and_multiply_adds_in_float(
    searched: tuple[CandidateSet, Path],
) -> None:
    step = searched[0].mixed_precision[0].steps[0]
    weights = [3 * 24 * 9, 24 * 32, 32 * 192, 192 * 9, 192 * 32, 32 * 256, 256 * 5]
    multiply_adds = [16 * 16 * count for count in weights[:-1]] + weights[-1:]
    assert step.weights == pytest.approx(weights[2] / sum(weights))
    assert step.multiply_adds == pytest.approx(multiply_adds[2] / sum(multiply_adds))


def test_a_second_run_gives_the_same_bytes(
    searched: tuple[CandidateSet, Path],
    coarse_weights: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
) -> None:
    make(
        coarse_weights, [FP32, COARSE], calibration, validator_for(coarse_weights, images), tmp_path
    )
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.*")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / file).read_bytes() == (searched[1] / file).read_bytes()


def test_a_sensitivity_is_that_of_one_layer_quantized_alone(
    searched: tuple[CandidateSet, Path],
    coarse_weights: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
) -> None:
    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [calibration]

        def get_next(self) -> dict[str, Images] | None:
            return {"images": self.left.pop()} if self.left else None

    prepared = tmp_path / "prepared.onnx"
    quant_pre_process(coarse_weights, prepared, skip_symbolic_shape=True)
    nodes = list(onnx.load(prepared).graph.node)
    expected = run(coarse_weights, images)
    for found in searched[0].mixed_precision[0].sensitivities:
        start = next(
            i for i, n in enumerate(nodes) if n.input[1:2] == [f"model.{found.layer}.weight"]
        )
        end = next(
            (i for i, n in enumerate(nodes) if i > start and n.op_type in ("Conv", "Gemm")),
            len(nodes) - 1,
        )
        quantize_static(
            prepared,
            tmp_path / "one.onnx",
            Reader(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=found.layer != "residual.2.0",  # depthwise weights keep 8 bits
            nodes_to_quantize=[n.name for n in nodes[start:end] if n.op_type != "Softmax"],
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                "WeightSymmetric": True,
            },
        )
        logits = run(tmp_path / "one.onnx", images, as_written=True)
        error = ((logits - expected) ** 2).mean() ** 0.5 / expected.std()
        assert found.error == pytest.approx(float(error), rel=1e-3)
        assert found.lost == np.sum(logits.argmax(axis=1) != expected.argmax(axis=1))


def test_all_layers_that_round_a_wide_range_are_kept_in_float(
    wide_range: Path, calibration: Images, images: Images, tmp_path: Path
) -> None:
    validator = validator_for(wide_range, images)
    made = make(wide_range, [FP32, FINE], calibration, validator, tmp_path, max_float_fraction=0.6)
    steps = made.mixed_precision[0].steps
    assert [len(step.float_layers) for step in steps] == [1, 2, 4]
    assert set(steps[2].float_layers) == AROUND
    assert steps[1].float_layers == steps[2].float_layers[:2]
    assert steps[0].drop.points > 5  # one of them alone does not help
    assert agreement(tmp_path / "int8-mixed/model.onnx", wide_range, images) > 0.97


@pytest.mark.parametrize(
    ("limits", "params", "outcome"),
    [
        ({}, {"max_float_fraction": 0.3}, ["no candidate added", "2 of 7 layers"]),
        (
            {"max_drop": 2.0, "max_drop_bound": 2.0},
            {},
            ["no search", "96 validation images", "149 are needed"],  # 0.98 ** 149 < 0.05
        ),
    ],
)
def test_without_success_nothing_is_added_and_the_outcome_has_the_reason(
    wide_range: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
    limits: dict[str, float],
    params: dict[str, Any],
    outcome: list[str],
) -> None:
    validator = validator_for(wide_range, images, **limits)
    made = make(wide_range, [FP32, FINE], calibration, validator, tmp_path, **params)
    assert [c.name for c in made.candidates] == ["fp32", "int8"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["candidates.json", "fp32", "int8"]
    assert made.mixed_precision[0].mixed is None
    assert all(part in made.mixed_precision[0].outcome for part in outcome)


@pytest.mark.parametrize(
    ("limits", "params"),
    [({"max_drop": 100.0, "max_drop_bound": 100.0}, {}), ({}, {"enabled": False})],
)
def test_there_is_no_search_if_the_drop_is_accepted_or_it_is_disabled(
    wide_range: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
    limits: dict[str, float],
    params: dict[str, Any],
) -> None:
    validator = validator_for(wide_range, images, **limits)
    made = make(wide_range, [FP32, FINE], calibration, validator, tmp_path, **params)
    assert (len(made.candidates), made.mixed_precision) == (2, ())


def test_steps_double_up_to_the_largest_fraction() -> None:
    assert step_sizes(53, 0.5) == [1, 2, 4, 8, 16, 26]
    assert step_sizes(8, 0.5) == [1, 2, 4]
    assert step_sizes(3, 1.0) == [1, 2, 3]
    assert step_sizes(1, 0.5) == [1]


def test_a_student_without_layers_is_named(
    exported: dict[Any, Path], coarse_weights: Path, images: Images
) -> None:
    class Empty:
        layers: tuple[Layer, ...] = ()

        def write(self, folder: Path, float_layers: Collection[str] = ()) -> Path:
            raise AssertionError

    setup = SearchSetup(validator_for(coarse_weights, images), MixedPrecision())
    other = exported["dynamic"]  # disagrees with the student of the validator
    with pytest.raises(QuantizationError, match=r"^int8: .*no layer.*mixed_precision\.enabled"):
        search_mixed_precision(COARSE, Empty(), other, setup, Path("nowhere"))


@pytest.mark.parametrize("candidate", [FINE, OPENVINO], ids=lambda c: c.name)
def test_an_operator_that_a_runtime_lacks_is_named(
    coarse_weights: Path, calibration: Images, tmp_path: Path, candidate: Candidate
) -> None:
    model = onnx.load(coarse_weights)
    next(node for node in model.graph.node if node.op_type == "Clip").op_type = "Unheard"
    onnx.save(model, tmp_path / "student.onnx")
    exported: Any = {"dynamic": tmp_path / "student.onnx"}
    runtime = candidate.runtime
    with pytest.raises(QuantizationError, match=rf"{runtime} cannot run the student: .*Unheard"):
        make_candidates(exported, [FP32, candidate], calibration, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_the_validator_names_a_file_that_cannot_be_run(images: Images, tmp_path: Path) -> None:
    (tmp_path / "student.onnx").write_bytes(b"no model")
    labels = np.zeros(len(images), np.int64)
    validator = CandidateValidator(tmp_path / "student.onnx", images, labels, Bundle())
    with pytest.raises(QuantizationError, match=r"student\.onnx: onnxruntime"):
        validator.drop(validator.student_logits)


@pytest.mark.slow
def test_openvino_keeps_the_same_layers_in_float(
    wide_range: Path, calibration: Images, images: Images, tmp_path: Path
) -> None:
    validator = validator_for(wide_range, images)
    made = make(
        wide_range,
        [FP32, OPENVINO],
        calibration,
        validator,
        tmp_path / "made",
        max_float_fraction=0.6,
    )
    plain, mixed = (tmp_path / f"made/{name}/model.xml" for name in ("ov", "ov-mixed"))
    assert [c.name for c in made.candidates] == ["fp32", "ov", "ov-mixed"]
    assert agreement(plain, wide_range, images) < 0.95
    assert agreement(mixed, wide_range, images) > 0.97
    in_float = set(made.candidates[2].float_layers)
    assert {"residual.0.0", "residual.4.0", "head.0.0"} <= in_float
    stored = [
        constant.get_element_type() == openvino.Type.i8
        for constant in openvino.Core().read_model(mixed).get_ops()
        if constant.get_type_name() == "Constant" and constant.get_data().size >= 600
    ]
    assert sum(stored) == len(LAYERS) - len(in_float)


@pytest.mark.slow
def test_openvino_restores_the_float_model(
    exported: dict[Any, Path], calibration: Images, images: Images, tmp_path: Path
) -> None:
    expected = run(exported["dynamic"], images)
    with OpenVINO().open_variants(OPENVINO, exported["dynamic"], calibration) as variants:
        assert [layer.name for layer in variants.layers] == LAYERS
        for folder in ("plain", "float"):
            (tmp_path / folder).mkdir()
        plain = variants.write(tmp_path / "plain")
        back = variants.write(tmp_path / "float", LAYERS)
    assert np.abs(run(plain, images) - expected).max() > 0.01
    assert np.abs(run(back, images) - expected).max() < 1e-4
    kinds = {op.get_type_name() for op in openvino.Core().read_model(back).get_ops()}
    assert "FakeQuantize" not in kinds

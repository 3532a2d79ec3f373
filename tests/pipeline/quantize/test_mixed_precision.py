"""Networks with a part that int8 destroys, and what the ladder makes of them."""

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
from pipeline.params import Candidate, MixedPrecision
from pipeline.quantize import CandidateSet, make_candidates
from pipeline.quantize import openvino as openvino_way
from pipeline.quantize.layers import Layer
from pipeline.quantize.mixed_precision import search_mixed_precision, step_sizes
from pipeline.quantize.validation import CandidateValidator
from pipeline.statistics import AccuracyDrop

FP32 = Candidate(name="fp32", runtime="onnxruntime", precision="fp32")
# One scale for all weights of a layer.
COARSE = Candidate(name="int8", runtime="onnxruntime", precision="int8", per_channel=False)
FINE = Candidate(name="int8", runtime="onnxruntime", precision="int8")
OPENVINO = Candidate(name="ov", runtime="openvino", precision="int8", bias_correction="fast")
CONTROLLED = OPENVINO.model_copy(update={"name": "controlled", "accuracy_control": True})

Images = NDArray[np.uint8]


LAYERS = ["stem.0.0", "stem.2.0", "residual.0.0", "residual.2.0", "residual.4.0", "head.0.0"]
LAYERS += ["classifier"]
ENDS = ("", "_bias")


def scaled(student: Path, path: Path, factors: list[tuple[str, Any, float]]) -> Path:
    """A copy of a student of which parts of some weights were multiplied."""
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
    """One channel has weights beside which all others of its layer round to nothing."""
    # What comes out of it ends at 0 or 6.
    factors = [(f"model.residual.0.0.weight{end}", 3, 500.0) for end in ENDS]
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return scaled(exported["dynamic"], path, factors)


@pytest.fixture(scope="module")
def wide_range(exported: dict[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One channel of what the residual starts from is beyond all others, which one scale loses."""
    makers = [f"model.{name}.0.weight{end}" for name in ("stem.2", "residual.4") for end in ENDS]
    takers = [f"model.{name}.0.0.weight" for name in ("residual", "head")]
    factors: list[tuple[str, Any, float]] = [(name, 3, 2000.0) for name in makers]
    factors += [(name, (slice(None), 3), 1 / 2000) for name in takers]
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return scaled(exported["dynamic"], path, factors)


# What rounds the wide channel: its makers, and what it goes into.
AROUND = {"stem.2.0", "residual.0.0", "residual.4.0", "head.0.0"}


def run(path: Path, images: Images, *, as_written: bool = False) -> NDArray[np.float32]:
    if path.suffix == ".onnx":
        options = ort.SessionOptions()
        if as_written:  # as it loads a file it would quantise more than what is quantised in it
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        logits: NDArray[np.float32] = session.run(["logits"], {"images": images})[0]
        return logits
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = model({"images": images})["logits"]
    return found


def agreement(path: Path, student: Path, images: Images) -> float:
    return float(np.mean(run(path, images).argmax(1) == run(student, images).argmax(1)))


def judge_of(student: Path, images: Images, **budget: float) -> CandidateValidator:
    """The student's own answers are the labels: it loses nothing."""
    labels = run(student, images).argmax(axis=1)
    return CandidateValidator(
        student, images, labels, **{"max_drop": 5.0, "max_drop_bound": 15.0, **budget}
    )


def make(
    student: Path,
    candidates: list[Candidate],
    calibration: Images,
    judge: CandidateValidator,
    folder: Path,
    **ladder: Any,
) -> CandidateSet:
    exported: Any = {"dynamic": student}
    return make_candidates(
        exported, candidates, calibration, folder, judge=judge, ladder=MixedPrecision(**ladder)
    )


def float_weights(path: Path) -> set[str]:
    graph = onnx.load(path).graph
    names = {f"model.{layer}.weight": layer for layer in LAYERS}
    return {names[w.name] for w in graph.initializer if w.name in names}


@pytest.fixture(scope="module")
def climbed(
    coarse_weights: Path,
    calibration: Images,
    images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CandidateSet, Path]:
    folder = tmp_path_factory.mktemp("models") / "candidates"
    judge = judge_of(coarse_weights, images)
    return make(coarse_weights, [FP32, COARSE], calibration, judge, folder), folder


def test_the_destroyed_layer_is_found_and_left_in_float(
    climbed: tuple[CandidateSet, Path], coarse_weights: Path, images: Images
) -> None:
    _, folder = climbed
    listed = json.loads((folder / "candidates.json").read_text())
    (ladder,) = listed["ladders"]
    assert ladder["costs"][0]["layer"] == "residual.0.0"
    assert ladder["costs"][0]["distance"] > 3 * ladder["costs"][1]["distance"]
    assert [rung["in_float"] for rung in ladder["rungs"]] == [["residual.0.0"]]
    assert (ladder["candidate"], ladder["mixed"]) == ("int8", "int8-mixed")
    assert ladder["outcome"] == "1 of 7 layers in float meet the budget"
    assert [(c["name"], c["in_float"]) for c in listed["candidates"]] == [
        ("fp32", []),
        ("int8", []),
        ("int8-mixed", ["residual.0.0"]),
    ]
    assert agreement(folder / "int8/model.onnx", coarse_weights, images) < 0.9
    assert agreement(folder / "int8-mixed/model.onnx", coarse_weights, images) > 0.95
    assert float_weights(folder / "int8-mixed/model.onnx") == {"residual.0.0"}
    assert float_weights(folder / "int8/model.onnx") == set()


def test_the_list_tells_how_each_candidate_was_made(climbed: tuple[CandidateSet, Path]) -> None:
    listed = json.loads((climbed[1] / "candidates.json").read_text())["candidates"]
    options = {
        "method": "static",
        "calibration": "minmax",
        "format": "qdq",
        "per_channel": False,
        "reduce_range": True,
        "types": "u8s8",
    }
    assert [c["options"] for c in listed] == [{}, options, options]


def test_what_a_rung_leaves_in_float_is_told_as_shares(
    climbed: tuple[CandidateSet, Path],
) -> None:
    rung = climbed[0].ladders[0].rungs[0]
    weights = [3 * 24 * 9, 24 * 32, 32 * 192, 192 * 9, 192 * 32, 32 * 256, 256 * 5]
    multiply_adds = [16 * 16 * count for count in weights[:-1]] + weights[-1:]
    assert rung.weights == pytest.approx(weights[2] / sum(weights))
    assert rung.multiply_adds == pytest.approx(multiply_adds[2] / sum(multiply_adds))


def test_a_second_run_gives_the_same_bytes(
    climbed: tuple[CandidateSet, Path],
    coarse_weights: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
) -> None:
    make(coarse_weights, [FP32, COARSE], calibration, judge_of(coarse_weights, images), tmp_path)
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.*")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / file).read_bytes() == (climbed[1] / file).read_bytes()


def test_costs_are_those_of_one_layer_quantised_alone(
    climbed: tuple[CandidateSet, Path],
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
    for cost in climbed[0].ladders[0].costs:
        start = next(
            i for i, n in enumerate(nodes) if n.input[1:2] == [f"model.{cost.layer}.weight"]
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
            reduce_range=cost.layer != "residual.2.0",  # depthwise weights keep 8 bits
            nodes_to_quantize=[n.name for n in nodes[start:end] if n.op_type != "Softmax"],
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                "WeightSymmetric": True,
            },
        )
        logits = run(tmp_path / "one.onnx", images, as_written=True)
        distance = ((logits - expected) ** 2).mean() ** 0.5 / expected.std()
        assert cost.distance == pytest.approx(float(distance), rel=1e-3)
        assert cost.lost == np.sum(logits.argmax(axis=1) != expected.argmax(axis=1))


def test_a_range_between_layers_leaves_all_that_round_it(
    wide_range: Path, calibration: Images, images: Images, tmp_path: Path
) -> None:
    judge = judge_of(wide_range, images)
    made = make(wide_range, [FP32, FINE], calibration, judge, tmp_path, largest_share=0.6)
    rungs = made.ladders[0].rungs
    assert [len(rung.in_float) for rung in rungs] == [1, 2, 4]
    assert set(rungs[2].in_float) == AROUND
    assert rungs[1].in_float == rungs[2].in_float[:2]
    assert rungs[0].drop.points > 5  # one of them alone does not help
    assert agreement(tmp_path / "int8-mixed/model.onnx", wide_range, images) > 0.97


@pytest.mark.parametrize(
    ("budget", "ladder", "said"),
    [
        ({}, {"largest_share": 0.3}, "no candidate was added: with 2 of 7 layers in float it"),
        ({"max_drop_bound": 2.0}, {}, "not tried: 96 validation images cannot rule out"),
    ],
)
def test_without_success_nothing_is_added_and_the_record_says_why(
    wide_range: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
    budget: dict[str, float],
    ladder: dict[str, Any],
    said: str,
) -> None:
    judge = judge_of(wide_range, images, **budget)
    made = make(wide_range, [FP32, FINE], calibration, judge, tmp_path, **ladder)
    assert [c.name for c in made.candidates] == ["fp32", "int8"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["candidates.json", "fp32", "int8"]
    assert made.ladders[0].mixed is None
    assert made.ladders[0].outcome.startswith(said)


@pytest.mark.parametrize(
    ("budget", "ladder"),
    [({"max_drop": 100.0, "max_drop_bound": 100.0}, {}), ({}, {"mixed": False})],
)
def test_the_ladder_stays_away_where_it_is_not_wanted(
    wide_range: Path,
    calibration: Images,
    images: Images,
    tmp_path: Path,
    budget: dict[str, float],
    ladder: dict[str, Any],
) -> None:
    judge = judge_of(wide_range, images, **budget)
    made = make(wide_range, [FP32, FINE], calibration, judge, tmp_path, **ladder)
    assert (len(made.candidates), made.ladders) == (2, ())


def test_rungs_double_up_to_the_largest_share() -> None:
    assert step_sizes(53, 0.5) == [1, 2, 4, 8, 16, 26]
    assert step_sizes(8, 0.5) == [1, 2, 4]
    assert step_sizes(3, 1.0) == [1, 2, 3]
    assert step_sizes(1, 0.5) == [1]


def test_a_student_without_layers_is_named(coarse_weights: Path, images: Images) -> None:
    class Bare:
        layers: tuple[Layer, ...] = ()

        def write(self, folder: Path, in_float: Collection[str] = ()) -> Path:
            raise AssertionError

    judge = judge_of(coarse_weights, images)
    with pytest.raises(
        QuantizationError, match=r"^int8: .*no layer with weights to leave in float"
    ):
        search_mixed_precision(
            COARSE, Bare(), AccuracyDrop(9, 5, 13, 9, 0, 96), judge, MixedPrecision(), Path("nowhere")
        )


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


def test_the_judge_names_what_cannot_be_run(images: Images, tmp_path: Path) -> None:
    (tmp_path / "student.onnx").write_bytes(b"no model")
    labels = np.zeros(len(images), np.int64)
    judge = CandidateValidator(
        tmp_path / "student.onnx", images, labels, max_drop=1.0, max_drop_bound=2.0
    )
    with pytest.raises(QuantizationError, match=r"student\.onnx: onnxruntime cannot load it"):
        judge.drop(judge.student_logits)


@pytest.mark.slow
def test_openvino_leaves_the_same_layers(
    wide_range: Path, calibration: Images, images: Images, tmp_path: Path
) -> None:
    judge = judge_of(wide_range, images)
    made = make(
        wide_range, [FP32, OPENVINO], calibration, judge, tmp_path / "made", largest_share=0.6
    )
    plain, mixed = (tmp_path / f"made/{name}/model.xml" for name in ("ov", "ov-mixed"))
    assert [c.name for c in made.candidates] == ["fp32", "ov", "ov-mixed"]
    assert agreement(plain, wide_range, images) < 0.95
    assert agreement(mixed, wide_range, images) > 0.97
    left = set(made.candidates[2].in_float)
    assert {"residual.0.0", "residual.4.0", "head.0.0"} <= left
    stored = [
        constant.get_element_type() == openvino.Type.i8
        for constant in openvino.Core().read_model(mixed).get_ops()
        if constant.get_type_name() == "Constant" and constant.get_data().size >= 600
    ]
    assert sum(stored) == len(LAYERS) - len(left)


@pytest.mark.slow
def test_openvino_gives_back_all_of_float(
    exported: dict[Any, Path], calibration: Images, images: Images, tmp_path: Path
) -> None:
    expected = run(exported["dynamic"], images)
    with openvino_way.open_variants(OPENVINO, exported["dynamic"], calibration) as variants:
        assert [layer.name for layer in variants.layers] == LAYERS
        for folder in ("plain", "float"):
            (tmp_path / folder).mkdir()
        plain = variants.write(tmp_path / "plain")
        back = variants.write(tmp_path / "float", LAYERS)
    assert np.abs(run(plain, images) - expected).max() > 0.01
    assert np.abs(run(back, images) - expected).max() < 1e-4
    kinds = {op.get_type_name() for op in openvino.Core().read_model(back).get_ops()}
    assert "FakeQuantize" not in kinds


@pytest.mark.slow
def test_accuracy_control_keeps_the_budget(
    wide_range: Path, calibration: Images, images: Images, tmp_path: Path
) -> None:
    judge = judge_of(wide_range, images)
    made = make(wide_range, [FP32, CONTROLLED], calibration, judge, tmp_path)
    controlled = made.candidates[1]
    assert agreement(tmp_path / controlled.model, wide_range, images) >= 0.95
    assert controlled.in_float  # of this student NNCF takes back even all
    assert set(controlled.in_float) <= set(LAYERS)
    assert controlled.options["accuracy_control"] is True


@pytest.mark.slow
def test_accuracy_control_takes_nothing_back_within_the_budget(
    exported: dict[Any, Path], calibration: Images, images: Images, tmp_path: Path
) -> None:
    student = exported["dynamic"]
    judge = judge_of(student, images, max_drop=100.0, max_drop_bound=100.0)
    made = make(student, [FP32, CONTROLLED], calibration, judge, tmp_path)
    assert made.candidates[1].in_float == ()
    assert "FakeQuantize" in (tmp_path / made.candidates[1].model).read_text()


def test_accuracy_control_needs_validation_images(
    wide_range: Path, calibration: Images, tmp_path: Path
) -> None:
    exported: Any = {"dynamic": wide_range}
    with pytest.raises(QuantizationError, match=r"controlled: .* needs validation images"):
        make_candidates(exported, [FP32, CONTROLLED], calibration, tmp_path)
